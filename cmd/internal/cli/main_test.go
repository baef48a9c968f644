package cli_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coffer-secrets/coffer/cmd/internal/cli"
	"github.com/coffer-secrets/coffer/cmd/internal/server"
	"github.com/coffer-secrets/coffer/testing/awsfake"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"coffer": func() {
		os.Exit(cli.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, cli.Version("1.2.3")))
	}})
}

func params(dir string, setup func(*testscript.Env) error) testscript.Params {
	return testscript.Params{
		Dir: filepath.Join("testdata", dir),
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			if err := os.MkdirAll(home, 0o700); err != nil {
				return err
			}
			return setup(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": exitCode, "cat": cat, "printf": printf, "set": setFromOutput, "mode": fileMode, "totp": passcode},
	}
}

// exitCode runs a command that must exit with the code that comes first.
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var failed *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &failed) {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("the exit code is %d, want %d", got, want)
	}
}

// setFromOutput sets a variable to what the last command printed, or to what an
// expression finds in it.
func setFromOutput(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.TrimSpace(ts.ReadFile("stdout"))
	if len(args) > 1 {
		match := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(text)
		if match == nil {
			ts.Fatalf("%s is not in the output", args[1])
		}
		text = match[1]
	}
	ts.Setenv(args[0], text)
}

// cat makes a file the output that set looks at.
func cat(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("cat", args...))
}

// printf writes text into a file.
func printf(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(args[1:], " ")+"\n"), 0o600))
}

// passcode makes the TOTP passcode of a URL some periods from now the output
// that set looks at.
func passcode(ts *testscript.TestScript, _ bool, args []string) {
	key, err := otp.NewKeyFromURL(args[0])
	ts.Check(err)
	periods, err := strconv.Atoi(args[1])
	ts.Check(err)
	code, err := totp.GenerateCode(key.Secret(), time.Now().Add(time.Duration(periods)*30*time.Second))
	ts.Check(err)
	ts.Check(ts.Exec("echo", code))
	ts.Check(os.WriteFile(ts.MkAbs("passcode"), []byte(code+"\n"), 0o600))
}

func fileMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("the mode is %s, want %s", got, args[1])
	}
}

// TestScripts runs scripts against a server that answers what the script's file
// api says, a line for each: method, URI, status and body. What it was asked is
// in the file requests.
func TestScripts(t *testing.T) {
	testscript.Run(t, params("script", func(env *testscript.Env) error {
		f := &fake{dir: env.WorkDir}
		s := httptest.NewServer(f)
		env.Defer(s.Close)
		env.Setenv("COFFER_ADDR", s.URL)
		env.Setenv("COFFER_TOKEN", "tok")
		return os.WriteFile(filepath.Join(env.WorkDir, "requests"), nil, 0o600)
	}))
}

type fake struct {
	mu  sync.Mutex
	dir string
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	log, err := os.OpenFile(filepath.Join(f.dir, "requests"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, _ = fmt.Fprintf(log, "%s %s token=%s wrap=%s %s\n", r.Method, r.RequestURI, r.Header.Get("X-Vault-Token"), r.Header.Get("X-Vault-Wrap-TTL"), body)
		_ = log.Close()
	}
	api, _ := os.ReadFile(filepath.Join(f.dir, "api"))
	for line := range strings.Lines(string(api)) {
		part := strings.SplitN(strings.TrimSpace(line), " ", 4)
		if len(part) < 3 || part[0] != r.Method || part[1] != r.RequestURI {
			continue
		}
		status, _ := strconv.Atoi(part[2])
		w.WriteHeader(status)
		if len(part) == 4 {
			_, _ = io.WriteString(w, part[3])
		}
		return
	}
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, `{"errors":[]}`)
}

// TestDev runs scripts against one dev server, whose root token is "root", beside a
// stand-in for AWS.
func TestDev(t *testing.T) {
	address := start(t, `COFFER_ADDR='([^']+)'`, "server", "-dev", "-dev-root-token-id=root", "-dev-listen-address=127.0.0.1:0", "-dev-no-store-token")
	testscript.Run(t, params("dev", func(env *testscript.Env) error {
		env.Setenv("COFFER_ADDR", address)
		env.Setenv("COFFER_TOKEN", "root")
		aws := awsfake.New()
		env.Defer(aws.Close)
		aws.AddRole("arn:aws:iam::"+awsfake.Account+":role/s3-reader", awsfake.Role{})
		id, secret := aws.Key(awsfake.RootUser)
		env.Setenv("AWS_URL", aws.URL)
		env.Setenv("AWS_KEY", "access_key="+id)
		env.Setenv("AWS_SECRET", "secret_key="+secret)
		return nil
	}))
}

// TestFresh runs each script against a server of its own that was never
// initialised.
func TestFresh(t *testing.T) {
	testscript.Run(t, params("fresh", func(env *testscript.Env) error {
		conf := filepath.Join(env.WorkDir, "coffer.hcl")
		text := fmt.Sprintf("storage \"raft\" {\n  path = %q\n}\nlistener \"tcp\" {\n  address = \"127.0.0.1:0\"\n  tls_disable = true\n}\n", filepath.Join(env.WorkDir, "data"))
		if err := os.MkdirAll(filepath.Join(env.WorkDir, "data"), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			return err
		}
		address, stop, err := startServer(`tcp \(addr: "([^"]+)"`, "server", "-config="+conf)
		if err != nil {
			return err
		}
		env.Defer(stop)
		env.Setenv("COFFER_ADDR", "http://"+address)
		return nil
	}))
}

func start(t *testing.T, find string, args ...string) string {
	t.Helper()
	address, stop, err := startServer(find, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return address
}

// startServer runs a server in this process until stop, and finds its address
// in what it prints.
func startServer(find string, args ...string) (address string, stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	ended := make(chan struct{})
	var log strings.Builder
	go func() {
		defer close(ended)
		cli.Run(ctx, args, strings.NewReader(""), in, &log, server.Commands(server.Build{Version: "1.2.3"})...)
		_ = in.Close()
	}()
	stop = func() { cancel(); <-ended }
	lines := bufio.NewScanner(out)
	pattern := regexp.MustCompile(find)
	var seen strings.Builder
	for lines.Scan() {
		seen.WriteString(lines.Text() + "\n")
		if match := pattern.FindStringSubmatch(lines.Text()); match != nil {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return match[1], stop, nil
		}
	}
	stop()
	return "", nil, fmt.Errorf("the server did not start:\n%s%s", seen.String(), log.String())
}
