package jwt

import (
	"bytes"
	"html/template"
	"net/http"

	"github.com/coffer-secrets/coffer/engines"
)

// page is what a person sees in the browser.
type page struct {
	Title, Text string
	// Facts are what to compare, and Hidden what a confirmation sends again.
	Facts  [][2]string
	Hidden [][2]string
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Coffer: {{.Title}}</title>
<style>body{font:1.1em/1.5 sans-serif;max-width:34em;margin:4em auto;padding:0 1em}dt{color:#555}dd{margin:0 0 .5em;font-weight:bold}button{font:inherit;padding:.4em 1.2em}</style>
</head><body><h1>{{.Title}}</h1><p>{{.Text}}</p>
{{if .Facts}}<dl>{{range .Facts}}<dt>{{index . 0}}</dt><dd>{{index . 1}}</dd>{{end}}</dl>{{end}}
{{if .Hidden}}<form method="post" action="?">{{range .Hidden}}<input type="hidden" name="{{index . 0}}" value="{{index . 1}}">{{end}}<button>Log in</button></form>{{end}}
</body></html>
`))

// confirmPage asks the one at the browser whether the login is theirs: somebody
// else may have begun it and sent them the address.
func confirmPage(req *engines.Request, f *flow) *page {
	p := &page{
		Title: "Is this you?",
		Text:  "Somebody asks for a token in your name. Go on only if you have just begun to log in yourself, and your command line or application shows this code.",
		Facts: [][2]string{{"Code", f.userCode()}, {"Role", f.Role}, {"Asked from", f.Addr}},
	}
	for _, name := range []string{"state", "code", "id_token", "iss"} {
		if value := req.Fields.String(name); value != "" {
			p.Hidden = append(p.Hidden, [2]string{name, value})
		}
	}
	p.Hidden = append(p.Hidden, [2]string{"confirmation", "yes"})
	return p
}

func (p *page) show() (*engines.Response, error) {
	var text bytes.Buffer
	if err := pageTemplate.Execute(&text, p); err != nil {
		return nil, engines.Internal(err)
	}
	return &engines.Response{
		Raw: &engines.Raw{Status: http.StatusOK, ContentType: "text/html; charset=utf-8", Body: text.Bytes()},
		Headers: map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"Referrer-Policy":         "no-referrer", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
		},
	}, nil
}
