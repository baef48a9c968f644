// Package joining is how a node becomes a member of a cluster: it shows that it
// can unseal before it is given anything that a member has.
//
// # The ceremony
//
//  1. The newcomer asks a node of the cluster, any that is unsealed, for an
//     invitation: the rows that a sealed node needs, which are ciphertext or
//     public, and a challenge.
//  2. With key shares, or with the seal that the cluster uses, the newcomer
//     opens the keyring that it was sent. From the keyring both sides derive the
//     key of the ceremony; everything from here on is sealed under it.
//  3. The newcomer sends back the challenge with who it is, where it is reached
//     and its public key. The leader commits that the challenge has been
//     answered, and which key the node has, makes the node a non-voter, and
//     sends it a certificate and the members.
//
// # Invariants
//
//   - A challenge is answered once. It carries its end and its node itself, so
//     that nothing is kept for those who only ask.
//   - Nobody takes the place of a member: neither its id nor its address, unless
//     it has the key that the member joined with.
//   - Whoever cannot unseal learns nothing but what a stolen disk would show.
package joining
