package logs_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/core/logs"
)

func newHub(level slog.Level) (*logs.Hub, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return logs.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug - 100}), level), out
}

func TestLevelsOfParts(t *testing.T) {
	t.Parallel()
	h, out := newHub(slog.LevelInfo)
	log, raft := h.Logger(), h.Logger().With(logs.Part, "raft").WithGroup("g")
	if h.Set(slog.LevelDebug, "nobody") || !h.Set(slog.LevelDebug, "raft") {
		t.Error("a part that is not there was changed, or one that is was not")
	}
	h.Configure(slog.LevelWarn)
	log.Info("one")
	raft.Debug("two", "k", "v")
	if got := out.String(); strings.Contains(got, "one") || !strings.Contains(got, "msg=two part=raft g.k=v") {
		t.Errorf("logged %q", got)
	}
	if !h.Reset() {
		t.Error("not reset")
	}
	raft.Info("three")
	log.Warn("four")
	if got := out.String(); strings.Contains(got, "three") || !strings.Contains(got, "four") {
		t.Errorf("logged %q", got)
	}
	if got := h.Levels(); len(got) != 2 || got["raft"] != slog.LevelWarn || got[logs.Core] != slog.LevelWarn {
		t.Errorf("levels %v", got)
	}
}

func TestNamesOfLevels(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"trace", "debug", "info", "warn", "error", "off"} {
		if level, ok := logs.Level(name); !ok || logs.Name(level) != name {
			t.Errorf("%s is %v, %v", name, level, ok)
		}
	}
	if _, ok := logs.Level("loud"); ok {
		t.Error("there is a level called loud")
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	h, out := newHub(slog.LevelWarn)
	f, err := h.Follow(slog.LevelDebug, true)
	if err != nil {
		t.Fatal(err)
	}
	log := h.Logger().With("a", 1)
	log.Debug("seen")
	if line := string(<-f.Lines()); !strings.Contains(line, `"msg":"seen","a":1`) || out.Len() > 0 {
		t.Errorf("followed %q, logged %q", line, out)
	}
	for range 10_000 {
		log.Info("many") // never waits for the follower
	}
	h.Leave(f)
	for range len(f.Lines()) {
		<-f.Lines()
	}
	log.Error("unseen")
	if len(f.Lines()) > 0 {
		t.Error("a follower who left is shown the log")
	}
	for range 16 {
		if _, err := h.Follow(slog.LevelInfo, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Follow(slog.LevelInfo, false); err == nil {
		t.Error("there is no bound to who follows")
	}
	h.Close()
	<-h.Closed()
}
