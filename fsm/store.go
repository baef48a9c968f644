package fsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Names within the folder of a store.
const (
	// CurrentFile holds the name of the state folder in use. Renaming a new one
	// over it is what makes a restore take effect.
	CurrentFile = "CURRENT"
	// StatePrefix begins the name of every state folder, a number follows.
	StatePrefix = "state-"

	tmpSuffix = ".tmp"
)

const (
	defaultCacheBytes    = 64 << 20
	defaultMemTableBytes = 32 << 20
	memTables            = 4 // one that is written to, and those that wait for the disk
	bloomBitsPerKey      = 10

	// formatVersion pins the on-disk format, so that a newer library does not
	// write what the previous release of this program cannot read.
	formatVersion = pebble.FormatTableFormatV6
)

// ErrClosed is returned by a store that was closed.
var ErrClosed = errors.New("fsm: store is closed")

// ErrDamaged is wrapped by the fatal error for a file that does not match its
// checksums.
var ErrDamaged = errors.New("fsm: a file of the store is damaged")

// Options say where and how a store is kept.
type Options struct {
	// Dir is the folder of the store; it is made if it is not there.
	Dir string
	// FS is where Dir is; nil: PrivateFS.
	FS vfs.FS
	// Logger receives what the storage engine reports; nil: nothing is logged.
	Logger *slog.Logger
	// CacheBytes is the size of the block cache, without memtables; 0: 64 MiB.
	CacheBytes int64
	// MemTableBytes is how much is gathered in memory before it is written to
	// disk; 0: 32 MiB. What is lost with a crash is applied again from the log.
	MemTableBytes uint64
	// Fatal is told why this replica cannot go on: an unknown command, a
	// damaged file, a disk that refuses writes. If it returns, or is nil, the
	// goroutine that met the error panics with a *Halted; one that only reads
	// gets an error instead.
	Fatal func(error)
}

// Store is the state of one replica.
type Store struct {
	dir      string
	fs       vfs.FS
	logger   *slog.Logger
	cache    *pebble.Cache
	memTable uint64
	fatal    func(error)
	waiters  waiters

	// applyMu serialises what changes the state: ApplyBatch, Restore, Close. It
	// guards the fields below it.
	applyMu sync.Mutex
	gen     *generation
	at      state
	indexed tableSet
	tables  tableIndexes
	// requests are the ids added last.
	requests requestCache
	closed   bool

	current atomic.Pointer[version]
	spoken  atomic.Uint32
}

// Open opens the store in a folder, or makes an empty one. What a crash left
// half-built is removed.
func Open(o Options) (*Store, error) {
	s := &Store{dir: o.Dir, fs: o.FS, logger: o.Logger, fatal: o.Fatal}
	if s.fs == nil {
		s.fs = PrivateFS()
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if s.memTable = o.MemTableBytes; s.memTable == 0 {
		s.memTable = defaultMemTableBytes
	}
	// The engine takes the memory of its memtables off the cache.
	s.cache = pebble.NewCache(o.CacheBytes + memTables*int64(s.memTable))
	if err := s.open(); err != nil {
		s.cache.Unref()
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

func (s *Store) open() error {
	if err := MakeDir(s.fs, s.dir); err != nil {
		return err
	}
	name, err := s.currentName()
	if err != nil {
		return err
	}
	if err := s.removeOthers(name); err != nil {
		return err
	}
	fresh := name == ""
	if fresh {
		name = stateName(1)
	}
	gen, err := s.openGeneration(name, false)
	if err != nil {
		return err
	}
	if fresh {
		if err := s.publishName(name); err != nil {
			return errors.Join(err, gen.db.Close())
		}
	}
	if err := s.load(gen); err != nil {
		return errors.Join(err, gen.db.Close())
	}
	s.publish()
	return nil
}

// load takes the applied state out of a generation and makes it the one in use.
func (s *Store) load(gen *generation) error {
	at, indexed, err := readMeta(gen.db)
	if err != nil {
		return err
	}
	if err := s.requests.load(gen.db); err != nil {
		return err
	}
	s.gen, s.at, s.indexed = gen, at, indexed
	for t := range s.tables {
		s.tables[t] = at.index
	}
	return nil
}

func readMeta(r pebble.Reader) (at state, indexed tableSet, err error) {
	b, closer, err := r.Get(stateKey())
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return at, indexed, nil
	case err != nil:
		return at, indexed, err
	}
	at, err = parseState(b)
	if err = errors.Join(err, closer.Close()); err != nil {
		return at, indexed, err
	}
	b, closer, err = r.Get(indexedKey())
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return at, indexed, nil
	case err != nil:
		return at, indexed, err
	}
	if copy(indexed[:], b) != len(indexed) || len(b) != len(indexed) {
		err = errors.New("malformed set of indexed tables")
	}
	return at, indexed, errors.Join(err, closer.Close())
}

// currentName reads which state folder is in use; "" if there is none yet.
func (s *Store) currentName() (string, error) {
	b, err := readFile(s.fs, s.fs.PathJoin(s.dir, CurrentFile), 64)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	name, ok := strings.CutSuffix(string(b), "\n")
	if _, number := stateNumber(name); !ok || !number {
		return "", fmt.Errorf("%s does not name a state folder", CurrentFile)
	}
	return name, nil
}

// publishName makes a state folder the one in use, durably.
func (s *Store) publishName(name string) error {
	return WriteFileAtomic(s.fs, s.dir, CurrentFile, []byte(name+"\n"))
}

// removeOthers removes state folders and temporary files that are not in use.
func (s *Store) removeOthers(keep string) error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		_, isState := stateNumber(name)
		if name == keep || !isState && !strings.HasSuffix(name, tmpSuffix) {
			continue
		}
		if err := s.fs.RemoveAll(s.fs.PathJoin(s.dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func stateName(n uint64) string { return fmt.Sprintf("%s%06d", StatePrefix, n) }

func stateNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, StatePrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// generation is one open state folder. It is closed when the last view of it
// is, and removed then if a restore has replaced it.
type generation struct {
	store  *Store
	name   string
	db     *pebble.DB
	rows   *rowCache
	refs   atomic.Int64
	remove atomic.Bool
}

func (s *Store) openGeneration(name string, fresh bool) (*generation, error) {
	o := databaseOptions(s.fs, s.cache, databaseLogger{s.logger, s.halt})
	o.ErrorIfExists = fresh
	o.MemTableSize = s.memTable
	var once sync.Once // the engine tries again, as fast as it can
	o.EventListener = &pebble.EventListener{DataCorruption: s.damaged, BackgroundError: func(err error) {
		if errors.Is(err, os.ErrNotExist) {
			once.Do(func() { s.gone(name) })
		}
	}}
	db, err := pebble.Open(s.fs.PathJoin(s.dir, name), o)
	if err != nil {
		return nil, err
	}
	g := &generation{store: s, name: name, db: db, rows: newRowCache()}
	g.refs.Store(1)
	return g, nil
}

func databaseOptions(fs vfs.FS, cache *pebble.Cache, logger pebble.Logger) *pebble.Options {
	o := &pebble.Options{
		FS:                          fs,
		Cache:                       cache,
		DisableWAL:                  true, // the Raft log is the write-ahead log
		FormatMajorVersion:          formatVersion,
		MemTableStopWritesThreshold: memTables,
		Logger:                      logger,
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBitsPerKey)
		o.Levels[i].FilterType = pebble.TableFilter
	}
	return o
}

func (g *generation) acquire() { g.refs.Add(1) }

func (g *generation) release() error {
	if g.refs.Add(-1) != 0 {
		return nil
	}
	err := g.db.Close()
	if g.remove.Load() && err == nil {
		err = g.store.fs.RemoveAll(g.store.fs.PathJoin(g.store.dir, g.name))
	}
	if err != nil {
		g.store.logger.Error("closing a state folder", "folder", g.name, "error", err)
	}
	return err
}

// Close releases the store. Views that are still open stay valid; the files
// are closed with the last of them.
func (s *Store) Close() error {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.gen.db.Flush() // not for safety: it saves replaying the log
	if v := s.current.Swap(nil); v != nil {
		v.release()
	}
	err = errors.Join(err, s.gen.release())
	s.cache.Unref()
	s.waiters.close()
	return err
}

// AppliedIndex is the index of the last entry in the published state.
func (s *Store) AppliedIndex() uint64 {
	if v := s.current.Load(); v != nil {
		return v.at.index
	}
	return 0
}

// AppliedTerm is the term of the last entry in the published state.
func (s *Store) AppliedTerm() uint64 {
	if v := s.current.Load(); v != nil {
		return v.at.term
	}
	return 0
}

// Time is cluster time at the last applied entry, in Unix nanoseconds.
func (s *Store) Time() int64 {
	if v := s.current.Load(); v != nil {
		return v.at.time
	}
	return 0
}

// WaitApplied returns when an entry at or beyond index is in the published
// state, or with the error of ctx, or with ErrClosed.
func (s *Store) WaitApplied(ctx context.Context, index uint64) error {
	return s.waiters.wait(ctx, index, s.AppliedIndex)
}

// Halted is what a store panics with when it cannot go on.
type Halted struct{ Err error }

func (h *Halted) Error() string { return "fsm: halted: " + h.Err.Error() }
func (h *Halted) Unwrap() error { return h.Err }

// halt reports that the replica cannot go on. It does not return.
func (s *Store) halt(err error) {
	if s.fatal != nil {
		s.fatal(err)
	}
	panic(&Halted{err})
}

// damaged is told when a file turns out to be damaged, on whatever goroutine
// reads it. The reader gets an error besides.
func (s *Store) damaged(info pebble.DataCorruptionInfo) {
	if s.fatal != nil {
		s.fatal(fmt.Errorf("%w: %s", ErrDamaged, s.fs.PathBase(info.Path)))
	}
}

// gone is told when the folder of the state is not there any more. It does not come
// back, so that what is applied could never be kept.
func (s *Store) gone(name string) {
	if s.fatal != nil {
		s.fatal(fmt.Errorf("fsm: the folder of the state has been removed: %s", name))
	}
}

// databaseLogger passes what the storage engine says to slog.
type databaseLogger struct {
	*slog.Logger
	halt func(error)
}

func (l databaseLogger) Infof(format string, args ...any) {
	l.Debug(fmt.Sprintf(format, args...), "part", "pebble")
}

func (l databaseLogger) Errorf(format string, args ...any) {
	l.Error(fmt.Sprintf(format, args...), "part", "pebble")
}

// Fatalf is called when the engine cannot keep its files consistent.
func (l databaseLogger) Fatalf(format string, args ...any) {
	l.halt(fmt.Errorf("pebble: "+format, args...))
}
