package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// barWidth is that of the bar, in characters.
const barWidth = 24

// progress shows on a terminal how far a run is; on anything else it says
// nothing.
type progress struct {
	out         *os.File
	done, total int
}

func newProgress(out *os.File) *progress {
	if !term.IsTerminal(int(out.Fd())) { // #nosec G115 -- a file's number is small
		out = nil
	}
	return &progress{out: out}
}

// step says what begins now.
func (p *progress) step(what string) {
	p.say(what)
	p.done++
}

func (p *progress) say(what string) {
	if p.out == nil {
		return
	}
	part := min(1, float64(p.done)/float64(max(1, p.total)))
	full := int(part * barWidth)
	_, _ = fmt.Fprintf(p.out, "\r\x1b[K[%s%s] %3.0f %% %s", strings.Repeat("█", full), strings.Repeat("·", barWidth-full), part*100, what)
}

// clear makes room for what is to stay.
func (p *progress) clear() {
	if p.out != nil {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
}
