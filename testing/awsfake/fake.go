package awsfake

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Account is the number of the account, and RootUser the user that New hands
// keys out for, who may do anything.
const (
	Account  = "123456789012"
	RootUser = "coffer-root"
)

// maxBody bounds a request.
const maxBody = 1 << 20

// Error is an answer other than success. As what a hook returns, it is given
// instead of the answer.
type Error struct {
	Status  int
	Code    string
	Message string
}

// Error gives the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refuse(code, message string) *Error {
	status := http.StatusBadRequest
	switch code {
	case "NoSuchEntity":
		status = http.StatusNotFound
	case "EntityAlreadyExists", "DeleteConflict", "LimitExceeded":
		status = http.StatusConflict
	case "AccessDenied", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken":
		status = http.StatusForbidden
	}
	return &Error{Status: status, Code: code, Message: message}
}

// Throttling is what AWS says to who asks too often.
func Throttling() *Error { return refuse("Throttling", "Rate exceeded") }

// Step is one call, before and after it has been done.
type Step struct {
	Action string
	User   string
	Done   bool
}

// Role is one that can be assumed.
type Role struct {
	// External is the external id that it asks for, if any.
	External string
	// Most is the longest session; 0 is an hour.
	Most time.Duration
	// Admin lets its sessions do anything.
	Admin bool
}

// Fake is an account. It is safe for concurrent use.
type Fake struct {
	// URL is where IAM and STS answer, and the metadata of the instance.
	URL string

	mu       sync.Mutex
	users    map[string]*user
	groups   map[string]*Group
	policies map[string]bool
	roles    map[string]Role
	keys     map[string]*key
	denied   map[string]bool
	tokens   map[string]string // of web identities, and the role that each is for
	trust    func(token, role string) bool
	lag      int
	page     int
	passed   time.Duration
	hook     func(ctx context.Context, s Step) *Error
	calls    map[string]int
	instance string
	mfa      string
	server   *httptest.Server
}

// New starts an account with a user who may do anything.
func New() *Fake {
	f := &Fake{
		users: make(map[string]*user), groups: make(map[string]*Group), policies: make(map[string]bool), roles: make(map[string]Role),
		keys: make(map[string]*key), denied: make(map[string]bool), tokens: make(map[string]string), calls: make(map[string]int), page: 100,
	}
	f.users[RootUser] = &user{name: RootUser, id: "AIDA" + random(16), path: "/", admin: true}
	f.server = httptest.NewServer(http.HandlerFunc(f.serve))
	f.URL = f.server.URL
	return f
}

// Close ends it.
func (f *Fake) Close() { f.server.Close() }

// Key makes another key of a user, as somebody does at the console.
func (f *Fake) Key(name string) (id, secret string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.newKeyLocked(f.users[name])
	k.lag = 0
	return k.id, k.secret
}

// Date has a key be made at another time than it was.
func (f *Fake) Date(id string, made time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[id].made = made
}

// Remove removes a key, as somebody does at the console.
func (f *Fake) Remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, id)
}

// AddUser makes a user as somebody does at the console.
func (f *Fake) AddUser(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users[name] = &user{name: name, id: "AIDA" + random(16), path: "/"}
}

// DropUser removes a user with all that it has.
func (f *Fake) DropUser(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.users, name)
	maps.DeleteFunc(f.keys, func(_ string, k *key) bool { return k.user == name })
}

// AddGroup makes a group, AddPolicy a managed policy, AddRole a role.
func (f *Fake) AddGroup(name string, g Group) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups[name] = &g
}

// AddPolicy makes a managed policy.
func (f *Fake) AddPolicy(arn string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.policies[arn] = true
}

// AddRole makes a role.
func (f *Fake) AddRole(arn string, r Role) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.roles[arn] = r
}

// Deny has actions be refused to everybody.
func (f *Fake) Deny(actions ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range actions {
		f.denied[a] = true
	}
}

// Lag has each key that is made from now on be refused so many times.
func (f *Fake) Lag(times int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lag = times
}

// Page has listings come in pieces.
func (f *Fake) Page(size int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.page = size
}

// Advance moves the clock by which sessions end.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passed += d
}

// Passcode makes sessions with an MFA device want a code.
func (f *Fake) Passcode(code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mfa = code
}

// Web lets a token of a web identity assume a role, and Instance has the
// metadata service hand out sessions of one.
func (f *Fake) Web(token, role string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens[token] = role
}

// Trust has fn say whether the token of a web identity lets assume a role.
func (f *Fake) Trust(fn func(token, role string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trust = fn
}

// Instance has the metadata service hand out sessions of a role.
func (f *Fake) Instance(role string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instance = role
}

// On has fn called before and after each call is done; nil for nothing.
func (f *Fake) On(fn func(ctx context.Context, s Step) *Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = fn
}

// Users lists the users but those with a name in except and RootUser.
func (f *Fake) Users(except ...string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := slices.Sorted(maps.Keys(f.users))
	return slices.DeleteFunc(names, func(name string) bool { return name == RootUser || slices.Contains(except, name) })
}

// Keys lists the ids of a user's keys, the oldest first.
func (f *Fake) Keys(name string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for _, k := range f.keysLocked(name) {
		ids = append(ids, k.id)
	}
	return ids
}

// Calls tells how often an action was asked for.
func (f *Fake) Calls(action string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[action]
}

// call is one request.
type call struct {
	form url.Values
	who  *key
}

func (c *call) get(name string) string { return c.form.Get(name) }

// list reads what the query protocol spells Name.member.1 and so on.
func (c *call) list(name, sub string) []string {
	var out []string
	for n := 1; ; n++ {
		member := name + ".member." + itoa(n) + sub
		if !c.form.Has(member) {
			return out
		}
		out = append(out, c.form.Get(member))
	}
}

func (f *Fake) serve(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/latest/") {
		f.metadata(w, r)
		return
	}
	text, err := f.answer(r)
	w.Header().Set("Content-Type", "text/xml")
	if err != nil {
		w.WriteHeader(err.Status)
		text = tag("ErrorResponse", tag("Error", leaf("Type", "Sender")+leaf("Code", err.Code)+leaf("Message", err.Message))+leaf("RequestId", "r"))
	}
	_, _ = io.WriteString(w, text) // #nosec G705 -- it is XML, and escaped
}

func (f *Fake) answer(r *http.Request) (string, *Error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return "", refuse("MalformedInput", "the body cannot be read")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || r.Method != http.MethodPost {
		return "", refuse("MalformedInput", "the body is not a form")
	}
	c := &call{form: form}
	action := c.get("Action")
	if action != "AssumeRoleWithWebIdentity" {
		var refused *Error
		if c.who, refused = f.verify(r, body); refused != nil {
			return "", refused
		}
	}
	f.mu.Lock()
	f.calls[action]++
	hook := f.hook
	f.mu.Unlock()
	if hook == nil {
		hook = func(context.Context, Step) *Error { return nil }
	}
	if e := hook(r.Context(), Step{Action: action, User: c.get("UserName")}); e != nil {
		return "", e
	}
	text, refused := f.do(action, c)
	if e := hook(r.Context(), Step{Action: action, User: c.get("UserName"), Done: true}); e != nil {
		return "", e
	}
	if refused != nil {
		return "", refused
	}
	return tag(action+"Response", tag(action+"Result", text)+tag("ResponseMetadata", leaf("RequestId", "r"))), nil
}

// do checks what the caller may, and does it.
func (f *Fake) do(action string, c *call) (string, *Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	service, known := "iam", actions[action]
	if known == nil {
		service, known = "sts", sessions[action]
	}
	if known == nil {
		return "", refuse("InvalidAction", "Could not find operation "+action)
	}
	free := action == "GetCallerIdentity" || action == "AssumeRoleWithWebIdentity"
	if !free && (!c.who.admin || f.denied[action]) {
		return "", refuse("AccessDenied", "User: "+c.who.arn+" is not authorized to perform: "+service+":"+action)
	}
	text, err := known(f, c)
	var refused *Error
	if errors.As(err, &refused) {
		return "", refused
	}
	return text, nil
}

// tag makes an element around text that is XML already, leaf one around any.
func tag(name, inner string) string { return "<" + name + ">" + inner + "</" + name + ">" }

func leaf(name, text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text))
	return tag(name, out.String())
}

func random(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	b := make([]byte, n)
	_, _ = rand.Read(b)
	for i := range b {
		b[i] = letters[b[i]%32]
	}
	return string(b)
}
