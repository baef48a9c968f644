package kv

import (
	"context"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

// maxKeys bounds a listing that is not paged, maxDetailed one that reads every
// secret in it.
const (
	maxKeys     = 250_000
	maxDetailed = 10_000
	// batch is how many names are taken at a time where some may be left out. Each
	// time costs the opening of all names of a folder, so it is as many as are held
	// at once anyhow.
	batch = maxKeys + 1
)

func tooMany(limit int) error {
	return engines.Invalidf("more than %d keys here: list them in pages, with limit and after", limit)
}

// tree is the names of secrets as one transaction sees them, in the folders of
// one version or, after an upgrade, of both.
type tree struct {
	tx   engines.Tx
	dirs []string
	// hidden says which folders a scan leaves out; nil for none.
	hidden func(folder string) bool
}

func treeV2(tx engines.Tx) (tree, config, error) {
	cfg, err := loadConfig(tx)
	if err != nil {
		return tree{}, cfg, err
	}
	t := tree{tx: tx, dirs: []string{metaDir}}
	if cfg.Upgraded {
		t.dirs = append(t.dirs, v1Dir)
	}
	return t, cfg, nil
}

// list returns the children of folder, which ends in a slash or is empty.
func (t tree) list(folder string, page engines.Page) ([]string, error) {
	var names []string
	for _, dir := range t.dirs {
		more, err := t.tx.List(dir+folder, page)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	if len(t.dirs) > 1 {
		slices.Sort(names)
		names = slices.Compact(names)
		if page.Limit > 0 && len(names) > page.Limit {
			names = names[:page.Limit]
		}
	}
	return names, nil
}

// scan appends the paths of all secrets below folder to found, relative to
// base, sorted, until found holds limit. A folder's name with its slash sorts
// where the paths below it do, so the walk is in order and after can skip
// whole folders.
func (t tree) scan(base, folder, after string, limit int, found []string) ([]string, error) {
	relative := folder[len(base):]
	if relative != "" && t.hidden != nil && t.hidden(relative) {
		return found, nil
	}
	rest, inside := strings.CutPrefix(after, relative)
	if !inside && after > relative {
		return found, nil // everything below sorts before after
	}
	var page engines.Page
	if inside && rest != "" {
		page.After = rest
		// A folder on the way to after sorts before it, but is only part done.
		if name, _, deep := strings.Cut(rest, "/"); deep && name != "" {
			page.After = name + "/"
			var err error
			if found, err = t.resume(base, folder+page.After, after, limit, found); err != nil {
				return nil, err
			}
		}
	}
	for len(found) < limit {
		page.Limit = batch // a folder that is hidden gives none
		names, err := t.list(folder, page)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if len(found) == limit {
				break
			}
			if !strings.HasSuffix(name, "/") {
				found = append(found, relative+name)
			} else if found, err = t.scan(base, folder+name, after, limit, found); err != nil {
				return nil, err
			}
		}
		if len(names) < page.Limit {
			break
		}
		page.After = names[len(names)-1]
	}
	return found, nil
}

// resume scans a folder that a client named, if there is such a one.
func (t tree) resume(base, folder, after string, limit int, found []string) ([]string, error) {
	names, err := t.list(folder, engines.Page{Limit: 1})
	if err != nil || len(names) == 0 {
		return found, err
	}
	return t.scan(base, folder, after, limit, found)
}

// listing is the answer to List and Scan.
type listing struct {
	Keys    []string                  `json:"keys"`
	KeyInfo map[string]metadataAnswer `json:"key_info,omitempty"`
}

// names answers what a List or Scan asks for: at most limit names after the
// given one that keep (nil for all) lets through. It refuses to answer with
// more than most.
func (t tree) names(req *engines.Request, most int, keep func(path string) (bool, error)) ([]string, error) {
	folder := folderOf(req)
	scanned := tree{tx: t.tx, dirs: t.dirs, hidden: req.Hidden}
	limit := most + 1
	if asked := req.Fields.Int("limit"); asked > 0 && asked < int64(limit) {
		limit = int(asked)
	}
	var kept []string
	after := req.Fields.String("after")
	for len(kept) < limit {
		want := limit - len(kept)
		if keep != nil {
			want = batch
		}
		var names []string
		var err error
		if req.Op == engines.Scan {
			names, err = scanned.scan(folder, folder, after, want, nil)
		} else {
			names, err = t.list(folder, engines.Page{After: after, Limit: want})
		}
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if len(kept) == limit {
				break
			}
			ok := true
			if keep != nil && !strings.HasSuffix(name, "/") {
				if ok, err = keep(folder + name); err != nil {
					return nil, err
				}
			}
			if ok {
				kept = append(kept, name)
			}
		}
		if len(names) < want {
			break
		}
		after = names[len(names)-1]
	}
	if len(kept) > most {
		return nil, tooMany(most)
	}
	if len(kept) == 0 {
		return nil, engines.NotFound()
	}
	return kept, nil
}

// folderOf is the request's path as a folder.
func folderOf(req *engines.Request) string {
	path := req.Fields.String("path")
	if path == "" || strings.HasSuffix(path, "/") {
		return path
	}
	return path + "/"
}

func listKeys(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	t, cfg, err := treeV2(tx)
	if err != nil {
		return nil, err
	}
	var keep func(path string) (bool, error)
	if req.Fields.Bool("exclude_deleted") {
		now := at(req.Now)
		keep = func(path string) (bool, error) {
			s, err := loadPath(tx, path, &cfg)
			if err != nil || s == nil {
				return false, err
			}
			current := s.meta.version(s.meta.current)
			return current == nil || !current.gone(now), nil
		}
	}
	keys, err := t.names(req, maxKeys, keep)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: listing{Keys: keys}}, nil
}

func listDetailed(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	t, cfg, err := treeV2(tx)
	if err != nil {
		return nil, err
	}
	keys, err := t.names(req, maxDetailed, nil)
	if err != nil {
		return nil, err
	}
	answer := listing{Keys: keys, KeyInfo: make(map[string]metadataAnswer, len(keys))}
	folder := folderOf(req)
	for _, key := range keys {
		if strings.HasSuffix(key, "/") {
			continue
		}
		s, err := loadPath(tx, folder+key, &cfg)
		if err != nil {
			return nil, err
		}
		if s != nil {
			answer.KeyInfo[key] = s.meta.answer()
		}
	}
	return &engines.Response{Data: answer}, nil
}

func listV1(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	keys, err := tree{tx: tx, dirs: []string{v1Dir}}.names(req, maxKeys, nil)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: listing{Keys: keys}}, nil
}
