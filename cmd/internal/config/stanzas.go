package config

import (
	"slices"
)

const (
	whyEnterprise = "it belongs to an edition that this server is not"
	whyDefault    = "Coffer has no such cache or limit to set"
	whyPrometheus = "only the Prometheus form of metrics is offered"
	whyNamespaces = "there are no namespaces besides the root"
	whyPlugins    = "engines are part of the binary, and plugins are not run"
)

// top is what may stand outside of any stanza.
func (c *Config) top() table {
	t := table{
		"storage":  c.storage,
		"backend":  c.storage, // Vault's older word
		"listener": c.listener,
		"seal":     c.seal,
		"telemetry": blocks(func(d *decoder, v value) {
			d.object("telemetry", v, c.Telemetry.keys())
		}),
		"api_addr":                     text(&c.APIAddr),
		"cluster_addr":                 text(&c.ClusterAddr),
		"cluster_name":                 text(&c.ClusterName),
		"default_lease_ttl":            duration(&c.DefaultLeaseTTL),
		"max_lease_ttl":                duration(&c.MaxLeaseTTL),
		"default_max_request_duration": duration(&c.MaxRequestDuration),
		"log_level":                    choice(&c.Log.Level, LogLevels()...),
		"log_format":                   choice(&c.Log.Format, "standard", "json"),
		"log_file":                     text(&c.Log.File),
		"pid_file":                     text(&c.PIDFile),
		"ui":                           truth(&c.UI),
		"raw_storage_endpoint":         truth(&c.RawStorage),
		"plugin_directory": func(d *decoder, e entry) {
			text(&c.PluginDirectory)(d, e)
			ignored(whyPlugins)(d, e)
		},
		"ha_storage": refused("the storage stanza serves this too"),
		"service_registration": ignored(
			"orchestrators learn of a node's state from sys/health"),
		"kms_library": refused("PKCS#11 seals are not offered"),
		"entropy":     refused("random numbers come from the operating system"),
		"audit":       c.audit,
		"audit_path":  text(&c.Audit.Path),
		"snapshots": blocks(func(d *decoder, v value) {
			c.Snapshots.place = v.place
			d.object("snapshots", v, c.Snapshots.keys())
		}),
		"initialize": refused("a cluster is initialised over the API"),
		"plugin":     refused(whyPlugins),
	}
	c.minor(t)
	return t
}

// minor adds the keys of Vault's that configure nothing here.
func (c *Config) minor(t table) {
	for key, set := range (table{
		"disable_sealwrap":                quiet(),
		"disable_mlock":                   quiet(), // memory is kept off the disk by the service manager
		"disable_ssc_tokens":              quiet(),
		"allow_audit_log_prefixing":       quiet(),
		"unsafe_allow_api_audit_creation": quiet(),
		"imprecise_lease_role_tracking":   quiet(),
		"disable_clustering":              refusedIfOn("every node is part of a cluster, if only its own"),
		"enable_multiseal":                refusedIfOn("one seal is used at a time"),
		"introspection_endpoint":          ignored("the inner state of a server is not shown"),
		"unsafe_cross_namespace_identity": refusedIfOn(whyNamespaces),
		"administrative_namespace_path":   refused(whyNamespaces),
	}) {
		t[key] = set
	}
	for key, why := range map[string]string{
		"disable_cache": whyDefault, "cache_size": whyDefault, "plugin_tmpdir": whyPlugins, "plugin_file_uid": whyPlugins,
		"plugin_file_permissions": whyPlugins, "plugin_auto_download": whyPlugins, "plugin_auto_register": whyPlugins, "plugin_download_behavior": whyPlugins,
		"log_rotate_bytes": whyRotate, "log_rotate_duration": whyRotate, "log_rotate_max_files": whyRotate,
		"log_requests_level": "finished requests are in the audit log", "experiments": whyEnterprise, "license_path": whyEnterprise,
		"disable_performance_standby": whyEnterprise, "reporting": whyEnterprise, "sentinel": whyEnterprise, "request_limiter": whyEnterprise,
		"adaptive_overload_protection": whyEnterprise, "replication": whyEnterprise,
		"user_lockout":                        "there is no method of logging in that it applies to",
		"enable_post_unseal_trace":            "traces are taken with sys/pprof",
		"disable_standby_reads":               "what a follower may answer is said by the request",
		"remove_irrevocable_lease_after":      "leases that cannot be revoked are kept and shown",
		"detect_deadlocks":                    "the race detector does that in tests",
		"disable_printable_check":             "paths are always checked",
		"enable_response_header_hostname":     "answers do not carry it",
		"enable_response_header_raft_node_id": "answers do not carry it",
	} {
		t[key] = ignored(why)
	}
}

const whyRotate = "let logrotate move the file and send SIGHUP"

func LogLevels() []string {
	return []string{"trace", "debug", "info", "warn", "error", "err", "notice", "off"}
}

func (t *Telemetry) keys() table {
	out := table{
		"prometheus_retention_time": duration(&t.PrometheusRetention),
		"disable_hostname":          truth(&t.DisableHostname),
		"usage_gauge_period":        duration(&t.UsageGaugePeriod),
	}
	for _, key := range []string{
		"statsite_address", "statsd_address", "dogstatsd_addr", "dogstatsd_tags", "metrics_prefix", "enable_hostname_label",
		"filter_default", "prefix_filter", "maximum_gauge_cardinality", "lease_metrics_epsilon", "num_lease_metrics_buckets",
		"add_lease_metrics_namespace_labels", "add_mount_point_rollback_metrics", "rollback_metrics_include_mount_point",
		"circonus_api_token", "circonus_api_app", "circonus_api_url", "circonus_submission_interval", "circonus_submission_url",
		"circonus_check_id", "circonus_check_force_metric_activation", "circonus_check_instance_id", "circonus_check_search_tag",
		"circonus_check_display_name", "circonus_check_tags", "circonus_broker_id", "circonus_broker_select_tag",
		"stackdriver_project_id", "stackdriver_location", "stackdriver_namespace", "stackdriver_debug_logs",
	} {
		out[key] = ignored(whyPrometheus)
	}
	return out
}

// storage takes over storage "raft", which is the only type.
func (c *Config) storage(d *decoder, e entry) {
	found, err := e.value.blocks()
	if err != nil {
		d.fail(err)
		return
	}
	for _, block := range found {
		if block.label != "raft" {
			d.fail(block.errorf("storage %q is not supported: use storage \"raft\", which needs nothing else to run", clip(block.label)))
			continue
		}
		if c.Storage.line != 0 {
			d.fail(block.errorf("storage is set twice: first at %s", c.Storage.place))
			continue
		}
		c.Storage.place = block.place
		d.object(`storage "raft"`, block.value, c.Storage.keys())
	}
}

func (s *Storage) keys() table {
	return table{
		"path":                    text(&s.Path),
		"node_id":                 text(&s.NodeID),
		"log_store":               choice(&s.LogStore, LogStoreBolt, LogStoreWAL),
		"performance_multiplier":  number(&s.PerformanceMultiplier, 0, 10),
		"trailing_logs":           number(&s.TrailingLogs, 0, 1<<30),
		"snapshot_threshold":      number(&s.SnapshotThreshold, 0, 1<<30),
		"snapshot_interval":       duration(&s.SnapshotInterval),
		"max_entry_size":          size(&s.MaxEntrySize),
		"retry_join_as_non_voter": truth(&s.NonVoter),
		"raft_wal": func(d *decoder, e entry) {
			wal := false
			truth(&wal)(d, e)
			if wal {
				s.LogStore = LogStoreWAL
			}
		},
		"autopilot_reconcile_interval":             duration(&s.AutopilotInterval),
		"autopilot_update_interval":                duration(&s.AutopilotInterval),
		"autopilot_redundancy_zone":                text(&s.RedundancyZone),
		"autopilot_upgrade_version":                ignored(whyEnterprise),
		"max_mount_and_namespace_table_entry_size": ignored("each mount is a row of its own"),
		"raft_log_verifier_enabled":                quiet(), // every entry is verified
		"raft_log_verification_interval":           ignored("every entry is verified when it is read"),
		"max_batch_entries":                        ignored("the size of a batch follows the load"),
		"max_batch_size":                           ignored("the size of a batch follows the load"),
		"retry_join": blocks(func(d *decoder, v value) {
			join := RetryJoin{place: v.place}
			d.object("retry_join", v, join.keys())
			d.fail(join.check())
			s.RetryJoin = append(s.RetryJoin, join)
		}),
	}
}

func (j *RetryJoin) keys() table {
	const whyDiscover = "name the nodes with leader_api_addr; gossip finds the others"
	return table{
		"leader_api_addr":         text(&j.LeaderAPIAddr),
		"leader_tls_servername":   text(&j.ServerName),
		"leader_ca_cert_file":     text(&j.CACertFile),
		"leader_client_cert_file": text(&j.ClientCertFile),
		"leader_client_key_file":  text(&j.ClientKeyFile),
		"leader_ca_cert":          text(&j.CACert),
		"leader_client_cert":      text(&j.ClientCert),
		"leader_client_key":       text(&j.ClientKey),
		"auto_join":               refused(whyDiscover),
		"auto_join_scheme":        refused(whyDiscover),
		"auto_join_port":          refused(whyDiscover),
	}
}

// seal takes over the seal in use. Those that are disabled are checked all the
// same, since someone will enable them.
func (c *Config) seal(d *decoder, e entry) {
	found, err := e.value.blocks()
	if err != nil {
		d.fail(err)
		return
	}
	for _, block := range found {
		s, disabled := Seal{place: block.place, Type: block.label}, false
		t := s.keys(&disabled)
		if t == nil {
			d.fail(block.errorf("seal %q is not supported: use %q, %q or %q", clip(block.label), SealShamir, SealStatic, SealTransit))
			continue
		}
		d.object("seal "+`"`+block.label+`"`, block.value, t)
		switch {
		case disabled:
		case c.Seal.line != 0:
			d.fail(block.errorf("two seals are enabled: the other is at %s", c.Seal.place))
		default:
			c.Seal = s
		}
	}
}

// keys are those of the seal's type; nil if there is no such type.
func (s *Seal) keys(disabled *bool) table {
	t := table{"disabled": truth(disabled), "name": quiet(), "priority": quiet()}
	switch s.Type {
	case SealShamir:
	case SealStatic:
		t["current_key_id"], t["current_key"] = text(&s.Keys.CurrentKeyID), text(&s.Keys.CurrentKey)
		t["previous_key_id"], t["previous_key"] = text(&s.Keys.PreviousKeyID), text(&s.Keys.PreviousKey)
	case SealTransit:
		tr := &s.Transit
		t["address"], t["token"], t["namespace"] = text(&tr.Address), text(&tr.Token), text(&tr.Namespace)
		t["key_name"], t["mount_path"] = text(&tr.KeyName), text(&tr.MountPath)
		t["tls_ca_cert"], t["tls_client_cert"], t["tls_client_key"] = text(&tr.CACert), text(&tr.ClientCert), text(&tr.ClientKey)
		t["tls_server_name"], t["tls_skip_verify"] = text(&tr.ServerName), truth(&tr.SkipVerify)
		t["disable_renewal"] = truth(&tr.DisableRenewal)
		t["key_id_prefix"] = quiet()
	default:
		return nil
	}
	return t
}

// belongs names the stanzas that have a key.
func belongs(key string) []string {
	var c Config
	var s Storage
	var j RetryJoin
	var tele Telemetry
	disabled := false
	var out []string
	for name, t := range map[string]table{
		"the top level": c.top(), `storage "raft"`: s.keys(), "retry_join": j.keys(), "telemetry": tele.keys(),
		`listener "tcp"`: (&Listener{Type: ListenerTCP}).keys(), `listener "unix"`: (&Listener{Type: ListenerUnix}).unixKeys(),
		`seal "static"`: (&Seal{Type: SealStatic}).keys(&disabled), `seal "transit"`: (&Seal{Type: SealTransit}).keys(&disabled),
		`audit "file"`: (&AuditDevice{}).keys(), "a listener's telemetry": (&Listener{}).telemetryKeys(), "a listener's profiling": (&Listener{}).profilingKeys(),
	} {
		if _, ok := t[key]; ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func (s *Snapshots) keys() table {
	return table{"path": text(&s.Path), "interval": duration(&s.Interval), "retain": number(&s.Retain, 1, 10_000)}
}
