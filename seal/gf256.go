package seal

// Arithmetic in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197, section 4.2),
// without branches on, or tables indexed by, the operands. Addition is XOR.

// gfMul returns a*b.
func gfMul(a, b byte) byte {
	var product byte
	for bit := 7; bit >= 0; bit-- {
		// Double, reduce if the top bit fell out, and add a if the bit is set:
		// -x is all ones or all zeros for a single bit x.
		reduce := -(product >> 7) & 0x1b
		product = product<<1 ^ reduce ^ -(b>>bit&1)&a
	}
	return product
}

// gfInv returns 1/a, and 0 for 0: a^254, as the order of the group is 255.
func gfInv(a byte) byte {
	power := a // a^(2^(i+1) - 1) after i rounds
	for range 6 {
		power = gfMul(gfMul(power, power), a)
	}
	return gfMul(power, power) // (a^127)^2
}
