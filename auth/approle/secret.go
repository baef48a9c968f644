package approle

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	secretDir   = "secret/"
	accessorDir = "accessor/"
	expiryDir   = "expiry/"
)

// secret is what is kept of a secret id.
type secret struct {
	Accessor string    `json:"accessor"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
	// Expires is the zero time for one without an end.
	Expires time.Time     `json:"expires,omitzero"`
	TTL     time.Duration `json:"ttl,omitempty"`
	// NumUses is how often it can still be used; 0 for any number.
	NumUses    int64             `json:"num_uses,omitempty"`
	CIDRs      []string          `json:"cidrs,omitempty"`
	TokenCIDRs []string          `json:"token_cidrs,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`

	// row is where it is stored: folder and HMAC.
	row string
}

// secretRow is where the role keeps a secret id, below secretDir.
func (r *role) secretRow(secretID string) string {
	mac := hmac.New(sha256.New, r.Key)
	mac.Write([]byte(secretID))
	return r.Folder + "/" + hex.EncodeToString(mac.Sum(nil))
}

// loadSecret gets the secret id of a row, nil if there is none or its time is
// over.
func loadSecret(tx engines.Tx, row string, now time.Time) (*secret, error) {
	entry, err := tx.Get(secretDir + row)
	if err != nil || entry == nil {
		return nil, err
	}
	s := &secret{row: row}
	if err := json.Unmarshal(entry.Value, s); err != nil {
		return nil, engines.Internal(err)
	}
	if !s.Expires.IsZero() && !now.Before(s.Expires) {
		return nil, nil
	}
	return s, nil
}

// secret is loadSecret for logins.
func (e *engine) secret(req *engines.Request, tx engines.Tx, row string) (*secret, error) {
	path := secretDir + row
	entry, err := tx.Get(path)
	if err != nil || entry == nil {
		return nil, err
	}
	kept, err := e.secrets.Get(req.Mount, path, entry)
	if err != nil || !kept.Expires.IsZero() && !req.Now.Before(kept.Expires) {
		return nil, err
	}
	s := *kept // a use may change it
	s.row = row
	return &s, nil
}

// byAccessor is loadSecret by the accessor.
func (r *role) byAccessor(tx engines.Tx, accessor string, now time.Time) (*secret, error) {
	if !isAccessor(accessor) {
		return nil, nil
	}
	entry, err := tx.Get(accessorDir + r.Folder + "/" + accessor)
	if err != nil || entry == nil {
		return nil, err
	}
	return loadSecret(tx, r.Folder+"/"+string(entry.Value), now)
}

// isAccessor keeps what is looked up from being a path.
func isAccessor(s string) bool { return len(s) == 36 && !strings.Contains(s, "/") }

func (s *secret) put(tx engines.Tx) error {
	value, err := json.Marshal(s)
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(secretDir+s.row, value)
}

// add stores a new secret id and what leads to it.
func (s *secret) add(tx engines.Tx) error {
	folder, mac, _ := strings.Cut(s.row, "/")
	if err := tx.Put(accessorDir+folder+"/"+s.Accessor, []byte(mac)); err != nil {
		return err
	}
	if !s.Expires.IsZero() {
		if err := tx.Put(expiryDir+s.expiryRow(), []byte(s.row)); err != nil {
			return err
		}
	}
	return s.put(tx)
}

// remove is the reverse of add.
func (s *secret) remove(tx engines.Tx) error {
	folder, _, _ := strings.Cut(s.row, "/")
	if err := tx.Delete(accessorDir + folder + "/" + s.Accessor); err != nil {
		return err
	}
	if !s.Expires.IsZero() {
		if err := tx.Delete(expiryDir + s.expiryRow()); err != nil {
			return err
		}
	}
	return tx.Delete(secretDir + s.row)
}

// use takes a use, the last of which removes the secret id.
func (s *secret) use(tx engines.Tx, now time.Time) error {
	switch s.NumUses {
	case 0:
		return nil
	case 1:
		return s.remove(tx)
	}
	s.NumUses--
	s.Updated = now
	return s.put(tx)
}

const daySeconds = 24 * 60 * 60

// expiryRow names, below expiryDir, the day and the second in which it ends,
// rounded up.
func (s *secret) expiryRow() string {
	end := s.Expires.Add(time.Second - 1).Unix()
	return strconv.FormatInt(end/daySeconds, 10) + "/" + strconv.FormatInt(end, 10) + "." + s.Accessor
}

// errEnough ends a walk.
var errEnough = errors.New("approle: enough")

// sweep removes up to limit secret ids whose time is over, and reports whether
// it found that many. Only with today it also looks at those that end today.
// A secret id's end never changes, so nothing else need be read.
func sweep(tx engines.Tx, now time.Time, limit int, withToday bool) (removed int, err error) {
	days, err := tx.List(expiryDir, engines.Page{})
	if err != nil {
		return 0, err
	}
	today := now.Unix() / daySeconds
	var due []string
	for _, dir := range days {
		day, err := strconv.ParseInt(strings.TrimSuffix(dir, "/"), 10, 64)
		if err != nil {
			return 0, engines.Internal(err)
		}
		if day > today || day == today && !withToday {
			continue
		}
		err = tx.Walk(expiryDir+dir, func(name string) error {
			seconds, _, _ := strings.Cut(name, ".")
			if end, err := strconv.ParseInt(seconds, 10, 64); err != nil || end > now.Unix() {
				return err
			}
			if due = append(due, expiryDir+dir+name); len(due) == limit {
				return errEnough
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil {
			return 0, err
		}
	}
	for _, path := range due {
		if err := removeDue(tx, path); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// removeDue removes the secret id that a row below expiryDir leads to.
func removeDue(tx engines.Tx, path string) error {
	entry, err := tx.Get(path)
	if err != nil || entry == nil {
		return err
	}
	row := string(entry.Value)
	folder, _, _ := strings.Cut(row, "/")
	_, accessor, _ := strings.Cut(path, ".")
	for _, gone := range []string{secretDir + row, accessorDir + folder + "/" + accessor, path} {
		if err := tx.Delete(gone); err != nil {
			return err
		}
	}
	return nil
}
