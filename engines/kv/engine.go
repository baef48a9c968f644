package kv

import (
	"context"

	"github.com/coffer-secrets/coffer/engines"
)

// Type is the engine's type. Core mounts "kv-v1" and "kv-v2" as this type with
// the option "version" set.
const Type = "kv"

// New returns the engine.
func New() *engines.Engine {
	return &engines.Engine{
		Type:  Type,
		Class: engines.ClassSecret,
		Help:  "Key/value storage for secrets, optionally with versions",
		Table: func(m engines.Mount) (*engines.Table, error) {
			version, err := versionOf(m)
			if err != nil {
				return nil, err
			}
			if version == 2 {
				return tableV2(), nil
			}
			return tableV1(), nil
		},
		Tuned: tuned,
	}
}

// versionOf reads the option "version", by default 1.
func versionOf(m engines.Mount) (int, error) {
	switch m.Options["version"] {
	case "", "1":
		return 1, nil
	case "2":
		return 2, nil
	}
	return 0, engines.Invalidf(`option "version" of a kv mount must be 1 or 2`)
}

// tuned marks a mount that goes from version 1 to 2; there is no way back.
func tuned(_ context.Context, old, changed engines.Mount, tx engines.Tx) error {
	from, err := versionOf(old)
	if err != nil {
		return err
	}
	to, err := versionOf(changed)
	if err != nil {
		return err
	}
	if to < from {
		return engines.Invalidf("cannot downgrade mount from version 2")
	}
	if to == from {
		return nil
	}
	cfg, err := loadConfig(tx)
	if err != nil {
		return err
	}
	cfg.Upgraded = true
	return cfg.store(tx)
}

// The fields that several routes have.
func pathField() engines.Field {
	return engines.Field{Name: "path", Help: "Location of the secret."}
}

func pagingFields() []engines.Field {
	return []engines.Field{
		{Name: "after", Help: "Begin a listing after this name, which need not exist.", Query: true},
		{Name: "limit", Type: engines.Int, Help: "How many names to list; 0 for all.", Query: true},
	}
}

func tableV1() *engines.Table {
	fields := append([]engines.Field{
		pathField(),
		{Name: "data", Type: engines.Map, Body: true, Secret: true, Help: "The secret: the whole body."},
	}, pagingFields()...)
	return &engines.Table{
		Help: "Keeps the last value written to each path. A member \"ttl\" of a secret tells its\nreaders how long to wait before they read it again; nothing is revoked.",
		Routes: []engines.Route{{
			Pattern: "{path...?}", Fields: fields, Help: "Read and write secrets.",
			Ops: []engines.Op{
				{Do: engines.Read, Trait: engines.Reads, Handler: readV1, Help: "Read the secret."},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeV1, Exists: existsV1, Help: "Write the secret, all of it."},
				{Do: engines.Delete, Trait: engines.Writes, Handler: deleteV1, Help: "Delete the secret."},
				{Do: engines.List, Trait: engines.Reads, Handler: listV1, Help: "List the names in a folder."},
				{Do: engines.Scan, Trait: engines.Reads, Handler: listV1, Help: "List all secrets below a folder."},
			},
		}},
	}
}

func tableV2() *engines.Table {
	return &engines.Table{
		Help: "Keeps several versions of the value of each path. Values are below data/, what is\nknown of them below metadata/. A delete can be undone with undelete/ until the\nversion is destroyed with destroy/ or pruned.",
		Routes: []engines.Route{
			configRoute(), dataRoute(), subkeysRoute(),
			versionsRoute("delete", "Delete versions of a secret; undelete brings them back.", deleteVersions),
			versionsRoute("undelete", "Bring deleted versions of a secret back.", undeleteVersions),
			versionsRoute("destroy", "Destroy versions of a secret for good.", destroyVersions),
			metadataRoute(), detailedRoute(), strayRoute(),
		},
	}
}

func configRoute() engines.Route {
	return engines.Route{
		Pattern: "config", Help: "Settings that hold for all secrets of the mount.",
		Fields: []engines.Field{
			{Name: "max_versions", Type: engines.Int, Help: "How many versions to keep of each secret; 0 for 10."},
			{Name: "cas_required", Type: engines.Bool, Help: "Refuse writes of data without the option cas."},
			{Name: "metadata_cas_required", Type: engines.Bool, Help: "Refuse writes of metadata without metadata_cas."},
			{Name: "delete_version_after", Type: engines.Seconds, Signed: true, Help: "Delete new versions after this long; 0 for not, negative for never, whatever a secret's metadata says."},
		},
		Ops: []engines.Op{
			{Do: engines.Read, Trait: engines.Reads, Handler: readConfig, Help: "Read the settings."},
			{Do: engines.Update, Trait: engines.Writes, Handler: writeConfig, Help: "Change the settings given."},
		},
	}
}

func dataRoute() engines.Route {
	return engines.Route{
		Pattern: "data/{path...}", Help: "Read, write, patch and delete secrets.",
		Description: "A write makes a new version. With options.cas it only does if the newest version\nhas that number, 0 meaning that there is none yet. A patch is a JSON merge patch\n(RFC 7396) of the newest version. A delete hides the newest version.",
		Fields: []engines.Field{
			pathField(),
			{Name: "version", Type: engines.Int, Help: "The version to read; 0 for the newest."},
			{Name: "data", Type: engines.JSON, Secret: true, Help: "The secret: an object."},
			{Name: "options", Type: engines.Map, Help: "Options of the write: cas, the number that the newest version must have."},
		},
		Ops: []engines.Op{
			{Do: engines.Read, Trait: engines.Reads, Handler: readData, Help: "Read a version."},
			{Do: engines.Update, Trait: engines.Writes, Handler: writeData, Exists: exists, Help: "Write a new version."},
			{Do: engines.Patch, Trait: engines.Writes, Handler: patchData, Help: "Write a new version from the newest and a patch."},
			{Do: engines.Delete, Trait: engines.Writes, Handler: deleteData, Help: "Delete the newest version; undelete brings it back."},
		},
	}
}

func subkeysRoute() engines.Route {
	return engines.Route{
		Pattern: "subkeys/{path...}", Help: "Read the names of a secret's members without their values.",
		Fields: []engines.Field{
			pathField(),
			{Name: "version", Type: engines.Int, Help: "The version to read; 0 for the newest."},
			{Name: "depth", Type: engines.Int, Help: "How many levels of names to show; 0 for all."},
		},
		Ops: []engines.Op{{Do: engines.Read, Trait: engines.Reads, Handler: readSubkeys}},
	}
}

func versionsRoute(verb, help string, handler engines.Handler) engines.Route {
	return engines.Route{
		Pattern: verb + "/{path...}", Help: help,
		Fields: []engines.Field{
			pathField(),
			{Name: "versions", Type: engines.Ints, Help: "The numbers of the versions."},
		},
		Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: handler}},
	}
}

func metadataRoute() engines.Route {
	fields := append([]engines.Field{
		pathField(),
		{Name: "max_versions", Type: engines.Int, Help: "How many versions to keep; the larger of this and the mount's counts."},
		{Name: "cas_required", Type: engines.Bool, Help: "Refuse writes of data without the option cas."},
		{Name: "metadata_cas_required", Type: engines.Bool, Help: "Refuse writes of metadata without metadata_cas."},
		{Name: "metadata_cas", Type: engines.Int, Help: "Only write if current_metadata_version has this value; 0 if there is no such secret."},
		{Name: "delete_version_after", Type: engines.Seconds, Help: "Delete new versions after this long, or sooner if the mount says so; 0 for not."},
		{Name: "custom_metadata", Type: engines.Map, Help: "Up to 64 names with texts that describe the secret."},
		{Name: "exclude_deleted", Type: engines.Bool, Query: true, Help: "Leave out of a listing what is deleted in its newest version."},
	}, pagingFields()...)
	return engines.Route{
		Pattern: "metadata/{path...?}", Help: "What is known of secrets apart from their values, and their names.",
		Fields: fields,
		Ops: []engines.Op{
			{Do: engines.Read, Trait: engines.Reads, Handler: readMetadata, Help: "Read the metadata and all versions' times."},
			{Do: engines.Update, Trait: engines.Writes, Handler: writeMetadata, Exists: exists, Help: "Write the metadata given; makes no version."},
			{Do: engines.Patch, Trait: engines.Writes, Handler: patchMetadata, Help: "Change the metadata given, of custom_metadata only the members given."},
			{Do: engines.Delete, Trait: engines.Writes, Handler: deleteMetadata, Help: "Delete the secret with all its versions for good."},
			{Do: engines.List, Trait: engines.Reads, Handler: listKeys, Help: "List the names in a folder."},
			{Do: engines.Scan, Trait: engines.Reads, Handler: listKeys, Help: "List all secrets below a folder."},
		},
	}
}

func detailedRoute() engines.Route {
	return engines.Route{
		Pattern: "detailed-metadata/{path...?}", Help: "List secrets together with their metadata.",
		Fields: append([]engines.Field{pathField()}, pagingFields()...),
		Ops: []engines.Op{
			{Do: engines.List, Trait: engines.Reads, Handler: listDetailed, Help: "List a folder, with key_info."},
			{Do: engines.Scan, Trait: engines.Reads, Handler: listDetailed, Help: "List all secrets below a folder, with key_info."},
		},
	}
}

// strayRoute answers paths that would be right on version 1.
func strayRoute() engines.Route {
	route := engines.Route{
		Pattern: "{path...?}", Help: "Not a path of version 2: secrets are below data/.",
		Fields: []engines.Field{
			pathField(),
			{Name: "data", Type: engines.Map, Body: true, Secret: true, Help: "Not looked at."},
		},
	}
	for _, op := range []engines.Operation{engines.Read, engines.Update, engines.Patch, engines.Delete, engines.List, engines.Scan} {
		route.Ops = append(route.Ops, engines.Op{Do: op, Trait: engines.Reads, Handler: stray})
	}
	return route
}

// stray tells the newcomer's first mistake. The path is not repeated: it may
// name a secret.
func stray(_ context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
	section := "data/"
	if req.Op == engines.List || req.Op == engines.Scan {
		section = "metadata/"
	}
	return &engines.Response{Missing: true, Warnings: []string{
		"Invalid path for a versioned K/V secrets engine: put " + section + " between the mount and the name of the secret, or use the kv commands, which do.",
	}}, nil
}
