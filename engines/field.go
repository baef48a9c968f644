package engines

// FieldType says how a field is read from a body, a query or a path.
type FieldType uint8

// The field types. What a client may write for each is Vault's.
const (
	// String takes a string, a number or a boolean.
	String FieldType = iota
	// Int takes an integer or a string that holds one.
	Int
	// Float takes a number or a string that holds one.
	Float
	// Bool takes a boolean, 0 or 1, or "true" and "false".
	Bool
	// Seconds takes a duration as a number of seconds or as "1h30m".
	Seconds
	// Strings takes an array, or one string split at commas.
	Strings
	// Ints takes an array, or one string split at commas.
	Ints
	// KVPairs takes an object of strings, or a list of "key=value".
	KVPairs
	// Map takes any object.
	Map
	// JSON takes any value and keeps the text that came in.
	JSON
	// Time takes RFC 3339 or Unix seconds.
	Time
)

var typeNames = [...]string{"string", "integer", "number", "boolean", "seconds", "array", "integers", "kvpairs", "map", "json", "date-time"}

// String gives the type's name for help and error messages.
func (t FieldType) String() string { return typeNames[t] }

// Field is one typed input of a route.
type Field struct {
	Name    string
	Type    FieldType
	Default any
	// Help is one line.
	Help string
	// Required fields answer a 400 that names them when they are missing.
	Required bool
	// Allowed, if not empty, are the only values of a String.
	Allowed []string
	// Query fields are also read from the query string of writes; captures and
	// the fields of reads always are.
	Query bool
	// Secret values never stand plain in audit records, whatever the device.
	Secret bool
	// Deprecated fields are accepted and answered with a warning.
	Deprecated bool
	// Whole fields of type Strings take one string as one element, commas and all.
	Whole bool
	// Signed fields of type Seconds also take negative durations.
	Signed bool
	// Body makes a Map field hold the whole body, whatever its members are
	// called; no member is then unrecognized. At most one field of a route.
	Body bool
}
