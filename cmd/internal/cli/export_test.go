package cli

import "io"

// What tests of the parts need to see.

// Normalize gives arguments the form that a run of the command line gives them.
func Normalize(args ...string) []string {
	a := &app{in: &input{}}
	a.shared = a.opts.flags()
	return prepare(a.root(nil), a.shared, args)
}

// Data reads the arguments of a write.
func Data(stdin io.Reader, args ...string) (map[string]any, error) {
	return (&input{r: stdin}).data(args)
}

// The parts that write.
var (
	Columns       = columns
	KeyValue      = keyValue
	Banner        = banner
	HumanDuration = humanDuration
	Cell          = cell
	ToYAML        = toYAML
	ToJSON        = toJSON
	Quote         = quote
	NeedsSudo     = needsSudo
	IsDuration    = isDurationText
	OneDash       = oneDash
	PGPKey        = pgpKey
)
