package fsmtest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Image is what a loss of power leaves of a file system.
type Image struct {
	// Step is the operation that had just ended.
	Step string
	// Mark is what Disk.Mark was called with last.
	Mark uint64
	FS   *vfs.MemFS
	// Beside is what the function given to Disk.Beside returned.
	Beside any
}

// Disk is a file system in memory that records an image after every operation
// that changes what is, or could be, on disk: creating, linking, renaming,
// removing and syncing. Writes are not steps of their own, since what was not
// synced may or may not be in an image.
type Disk struct {
	vfs.FS
	mem *vfs.MemFS

	mu     sync.Mutex
	rng    *rand.Rand
	on     bool
	beside func() any
	mark   uint64
	images []Image
}

// NewDisk returns an empty disk. The seed decides which of the unsynced blocks
// and names are in every second image; the others have none of them.
func NewDisk(seed uint64) *Disk { return DiskOf(vfs.NewCrashableMem(), seed) }

// DiskOf returns a disk that begins as an image.
func DiskOf(mem *vfs.MemFS, seed uint64) *Disk {
	return &Disk{FS: mem, mem: mem, rng: rand.New(rand.NewPCG(seed, seed))} //nolint:gosec // repeatable
}

// Record begins or ends recording.
func (d *Disk) Record(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.on = on
}

// Mark sets the mark of the images from now on.
func (d *Disk) Mark(mark uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mark = mark
}

// Beside lets every image also hold what something else, which is durable by
// itself, had at that moment. The function must not touch the disk.
func (d *Disk) Beside(state func() any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.beside = state
}

// Step records images after a step of what stands beside the disk.
func (d *Disk) Step(name string) { d.step("%s", name) }

// Images returns what was recorded.
func (d *Disk) Images() []Image {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.images
}

// Crash returns what a loss of power now would leave, with some of the
// unsynced blocks and names.
func (d *Disk) Crash() *vfs.MemFS {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: d.rng.IntN(101), RNG: d.rng})
}

func (d *Disk) step(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.on {
		return
	}
	step := fmt.Sprintf(format, args...)
	var beside any
	if d.beside != nil {
		beside = d.beside()
	}
	for _, percent := range []int{0, 50} {
		clone := d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: d.rng})
		d.images = append(d.images, Image{Step: step, Mark: d.mark, FS: clone, Beside: beside})
	}
}

// Unwrap implements vfs.FS.
func (d *Disk) Unwrap() vfs.FS { return d.mem }

// Create implements vfs.FS.
func (d *Disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return d.file(f, name, "create", err)
}

// OpenReadWrite implements vfs.FS.
func (d *Disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, opts...)
	return d.file(f, name, "open", err)
}

// OpenDir implements vfs.FS.
func (d *Disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &file{File: f, name: name, disk: d}, nil
}

// ReuseForWrite implements vfs.FS.
func (d *Disk) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (f vfs.File, err error) {
	d.apart(func() { f, err = d.FS.ReuseForWrite(oldname, newname, c) })
	return d.file(f, newname, "reuse", err)
}

func (d *Disk) file(f vfs.File, name, step string, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	d.step("%s %s", step, name)
	return &file{File: f, name: name, disk: d}, nil
}

// Link implements vfs.FS.
func (d *Disk) Link(oldname, newname string) (err error) {
	d.apart(func() { err = d.FS.Link(oldname, newname) })
	return d.done(err, "link %s", newname)
}

// Remove implements vfs.FS.
func (d *Disk) Remove(name string) error { return d.done(d.FS.Remove(name), "remove %s", name) }

// RemoveAll implements vfs.FS.
func (d *Disk) RemoveAll(name string) error {
	return d.done(d.FS.RemoveAll(name), "remove all %s", name)
}

// Rename implements vfs.FS.
func (d *Disk) Rename(oldname, newname string) error {
	return d.done(d.FS.Rename(oldname, newname), "rename to %s", newname)
}

// MkdirAll implements vfs.FS.
func (d *Disk) MkdirAll(dir string, perm os.FileMode) error {
	return d.done(d.FS.MkdirAll(dir, perm), "mkdir %s", dir)
}

// Lock implements vfs.FS.
func (d *Disk) Lock(name string) (c io.Closer, err error) {
	d.apart(func() { c, err = d.FS.Lock(name) })
	return c, err
}

// apart keeps clones away from what locks MemFS for reading twice, which must
// not meet a clone that waits between.
func (d *Disk) apart(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do()
}

func (d *Disk) done(err error, format string, args ...any) error {
	if err == nil {
		d.step(format, args...)
	}
	return err
}

// file records the syncs of one file or folder.
type file struct {
	vfs.File
	name string
	disk *Disk
}

func (f *file) Sync() error     { return f.disk.done(f.File.Sync(), "sync %s", f.name) }
func (f *file) SyncData() error { return f.disk.done(f.File.SyncData(), "sync data %s", f.name) }
