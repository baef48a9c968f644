package pki

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/lists"
)

// crlConfig is the row of config/crl.
type crlConfig struct {
	Expiry       string `json:"expiry"`
	Disable      bool   `json:"disable"`
	OCSPDisable  bool   `json:"ocsp_disable"`
	OCSPExpiry   string `json:"ocsp_expiry"`
	Auto         bool   `json:"auto_rebuild"`
	Grace        string `json:"auto_rebuild_grace_period"`
	Delta        bool   `json:"enable_delta"`
	Interval     string `json:"delta_rebuild_interval"`
	AllowExpired bool   `json:"allow_expired_cert_revocation"`
}

func defaultCRL() *crlConfig {
	return &crlConfig{Expiry: "72h", OCSPExpiry: "1h", Grace: "12h", Interval: "15m"}
}

func loadCRL(tx engines.Tx) (*crlConfig, error) {
	c, err := load[crlConfig](tx, crlRow)
	if c == nil {
		c = defaultCRL()
	}
	return c, err
}

// duration reads one of its own texts, which were checked when they were written.
func duration(text string) time.Duration {
	d, _ := engines.ParseSeconds(text)
	return d
}

// entry is the row of a line of a list.
type entry struct {
	At time.Time `json:"at"`
}

// head is the row that names a group's lists as they were signed last.
type head struct {
	// Number counts lists of both kinds.
	Number uint64 `json:"number"`
	Full   part   `json:"full"`
	Delta  part   `json:"delta,omitzero"`
}

// part is one list. Parts is the number of rows that it is in.
type part struct {
	Number uint64    `json:"number"`
	Parts  int       `json:"parts"`
	This   time.Time `json:"this"`
	Next   time.Time `json:"next"`
	// Index is that of the last entry that it holds.
	Index uint64 `json:"index"`
	// Rest is until when it is not signed anew in the background.
	Rest time.Time `json:"rest,omitzero"`
}

const (
	headName  = "/head"
	dirtyName = "/dirty"
	fullKind  = "full"
	deltaKind = "delta"
	partBytes = 1 << 20
	// again is when a list is signed anew that entries came to meanwhile.
	again = time.Second
	// A list rests for so many times as long as it took, but no longer than maxRest:
	// otherwise whoever revokes all the while has a long one signed without end.
	restFactor = 9
	maxRest    = time.Minute
)

func partsDir(group, kind string, number uint64) string {
	return listDir + group + "/" + kind + "/" + strconv.FormatUint(number, 10) + "/"
}

// soon is a time that has passed: what is scheduled for it is done at once.
var soon = time.Unix(1, 0)

// scheduleLists has the list of a group signed at a time, or at once if it is zero.
func scheduleLists(tx engines.Tx, group string, at time.Time) error {
	if at.IsZero() {
		at = soon
	}
	return tx.Schedule("list/"+group, at)
}

// build is a list on its way: what it is made of, as one snapshot has it.
type build struct {
	group, kind string
	by          *authority
	config      *crlConfig
	head        *head
	entries     []x509.RevocationListEntry
	index       uint64
	dirty       uint64
	list        part
	der         []byte
	// began is when it was begun in the background.
	began time.Time
}

// errTooMany says that a list is too large to be signed while somebody waits.
var errTooMany = errors.New("the list is too large")

// collect reads what a list is made of; nil if the group has nobody to sign it.
// At most limit entries, if there is one.
func (e *engine) collect(m engines.Mount, tx engines.Tx, group, kind string, limit int) (*build, error) {
	b := &build{group: group, kind: kind}
	var err error
	if b.by, err = e.listSigner(m, tx, group); err != nil || b.by == nil {
		return nil, err
	}
	if b.config, err = loadCRL(tx); err != nil {
		return nil, err
	}
	if b.head, err = load[head](tx, listDir+group+headName); err != nil {
		return nil, err
	}
	if b.head == nil {
		b.head = new(head)
	}
	if b.dirty, err = dirtiness(tx, group); err != nil {
		return nil, err
	}
	if b.config.Disable {
		return b, nil // an empty list: clients that want one are not to fail
	}
	dir := entryDir + group + "/"
	err = tx.Walk(dir, func(serial string) error {
		if limit > 0 && len(b.entries) >= limit {
			return errTooMany
		}
		return b.add(tx, dir, serial)
	})
	return b, err
}

// add reads one entry.
func (b *build) add(tx engines.Tx, dir, serial string) error {
	row, err := tx.Get(dir + serial)
	if err != nil || row == nil {
		return err
	}
	b.index = max(b.index, row.Version)
	if b.kind == deltaKind && row.Version <= b.head.Full.Index {
		return nil
	}
	var line entry
	number, ok := certs.ParseSerial(serial)
	if err := json.Unmarshal(row.Value, &line); err != nil || !ok {
		return engines.Internal(errors.Join(err, errors.New("an entry of a list is malformed")))
	}
	b.entries = append(b.entries, x509.RevocationListEntry{SerialNumber: number, RevocationTime: line.At.UTC()})
	return nil
}

// dirtiness is the index at which something was revoked last.
func dirtiness(tx engines.Tx, group string) (uint64, error) {
	row, err := tx.Get(listDir + group + dirtyName)
	if err != nil || row == nil {
		return 0, err
	}
	return row.Version, nil
}

// listSigner is an issuer of a group that may sign lists.
func (e *engine) listSigner(m engines.Mount, tx engines.Tx, group string) (*authority, error) {
	all, err := e.all(m, tx)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if a.group == group && a.Key != "" && slices.Contains(a.Usage, useCRL) {
			return e.signer(m, tx, a.ID, useCRL)
		}
	}
	return nil, nil
}

// sign makes the list. It takes long for a long one.
func (b *build) sign(now time.Time) error {
	now = now.UTC().Truncate(time.Second)
	b.list = part{Number: b.head.Number + 1, This: now, Next: now.Add(duration(b.config.Expiry)), Index: b.index}
	l := &lists.List{Entries: b.entries, Number: new(big.Int).SetUint64(b.list.Number), This: now, Next: b.list.Next}
	if b.kind == deltaKind {
		l.Base = new(big.Int).SetUint64(b.head.Full.Number)
	}
	var err error
	if b.der, err = l.Sign(b.by.cert, b.by.key, b.by.algorithm()); err != nil {
		return engines.Internal(err)
	}
	b.list.Parts = (len(b.der) + partBytes - 1) / partBytes
	return nil
}

// putPart writes one piece.
func (b *build) putPart(tx engines.Tx, i int) error {
	from := i * partBytes
	return tx.Put(fmt.Sprintf("%s%06d", partsDir(b.group, b.kind, b.list.Number), i), b.der[from:min(len(b.der), from+partBytes)])
}

// errOvertaken says that another list was signed meanwhile.
var errOvertaken = errors.New("another list was signed meanwhile")

// publish has the list served from now on, and the next one signed in time.
func (b *build) publish(tx engines.Tx, now time.Time) error {
	h, err := load[head](tx, listDir+b.group+headName)
	if err != nil {
		return err
	}
	if h == nil {
		h = new(head)
	}
	if h.Number != b.head.Number {
		return errOvertaken
	}
	h.Number = b.list.Number
	old := &h.Full
	if b.kind == deltaKind {
		old = &h.Delta
	}
	if !b.began.IsZero() {
		b.list.Rest = now.Add(min(restFactor*now.Sub(b.began), maxRest))
	}
	gone := *old
	if *old = b.list; gone.Number != 0 && gone.Number != b.list.Number {
		if err := tx.DeletePrefix(partsDir(b.group, b.kind, gone.Number)); err != nil {
			return err
		}
	}
	if err := save(tx, listDir+b.group+headName, h); err != nil {
		return err
	}
	return b.scheduleNext(tx, now)
}

func (b *build) scheduleNext(tx engines.Tx, now time.Time) error {
	interval := duration(b.config.Interval)
	if b.kind == deltaKind {
		if !b.config.Delta {
			return tx.Schedule("delta/"+b.group, time.Time{})
		}
		return tx.Schedule("delta/"+b.group, now.Add(interval))
	}
	next := b.list.Next.Add(-b.list.Next.Sub(b.list.This) / 10) // in time for those who read the list late
	if b.config.Auto {
		next = b.list.Next.Add(-duration(b.config.Grace))
	}
	dirty, err := dirtiness(tx, b.group)
	if err != nil {
		return err
	}
	if dirty != b.dirty && !b.config.Auto {
		next = now.Add(again)
	}
	if err := scheduleLists(tx, b.group, next); err != nil || !b.config.Delta {
		return err
	}
	return tx.Schedule("delta/"+b.group, now.Add(interval))
}

// rebuild signs a list in the background.
func (e *engine) rebuild(ctx context.Context, r *engines.Reach, group, kind string) error {
	began, name := r.Now(), "list/"+group
	if kind == deltaKind {
		name = "delta/" + group
	}
	var rest time.Time
	var b *build
	err := r.Look(func(tx engines.Tx) error {
		h, err := load[head](tx, listDir+group+headName)
		if err != nil {
			return err
		}
		if h != nil && kind == fullKind && began.Before(h.Full.Rest) {
			rest = h.Full.Rest
			return nil
		}
		b, err = e.collect(r.Mount, tx, group, kind, 0)
		return err
	})
	if err != nil {
		return err
	}
	if !rest.IsZero() {
		return r.Change(ctx, func(tx engines.Tx) error { return tx.Schedule(name, rest) })
	}
	if b == nil || kind == deltaKind && b.head.Full.Number == 0 {
		return r.Change(ctx, func(tx engines.Tx) error { return tx.Schedule(name, time.Time{}) })
	}
	b.began = began
	if err := b.sign(r.Now()); err != nil {
		return err
	}
	for i := range b.list.Parts {
		if err := r.Change(ctx, func(tx engines.Tx) error { return b.putPart(tx, i) }); err != nil {
			return err
		}
	}
	return r.Change(ctx, func(tx engines.Tx) error { return b.publish(tx, r.Now()) })
}

// readList puts a list together; nil if none has been signed yet.
func readList(tx engines.Tx, group, kind string) ([]byte, error) {
	h, err := load[head](tx, listDir+group+headName)
	if err != nil || h == nil {
		return nil, err
	}
	of := h.Full
	if kind == deltaKind {
		of = h.Delta
	}
	var der []byte
	for i := range of.Parts {
		row, err := tx.Get(fmt.Sprintf("%s%06d", partsDir(group, kind, of.Number), i))
		if err != nil {
			return nil, err
		}
		if row == nil {
			return nil, engines.Internal(errors.New("a piece of a list is missing"))
		}
		der = append(der, row.Value...)
	}
	return der, nil
}
