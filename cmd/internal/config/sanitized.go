package config

import "time"

// Sanitized is the configuration as sys/config/state/sanitized tells it: no
// keys, no tokens, and nothing that says where they are.
func (c *Config) Sanitized() map[string]any {
	listeners := make([]any, 0, len(c.Listeners))
	for i := range c.Listeners {
		listeners = append(listeners, c.Listeners[i].sanitized())
	}
	devices := make([]any, 0, len(c.Audit.Devices))
	for _, a := range c.Audit.Devices {
		devices = append(devices, map[string]any{"type": a.Type, "path": a.Name + "/", "description": a.Description})
	}
	return map[string]any{
		"audit_path": c.Audit.Path, "audit": devices,
		"api_addr": c.APIAddr, "cluster_addr": c.ClusterAddr, "cluster_name": c.ClusterName,
		"default_lease_ttl": seconds(c.DefaultLeaseTTL), "max_lease_ttl": seconds(c.MaxLeaseTTL),
		"default_max_request_duration": seconds(c.MaxRequestDuration),
		"log_level":                    c.Log.Level, "log_format": c.Log.Format, "log_file": c.Log.File,
		"pid_file": c.PIDFile, "plugin_directory": c.PluginDirectory, "enable_ui": c.UI,
		"raw_storage_endpoint": c.RawStorage, "introspection_endpoint": false,
		"disable_mlock": true, "disable_cache": false, "cache_size": 0,
		"listeners": listeners,
		"seals":     []any{map[string]any{"type": c.Seal.Type, "disabled": false}},
		"storage": map[string]any{
			"type": "raft", "cluster_addr": c.ClusterAddr, "redirect_addr": c.APIAddr, "disable_clustering": false,
			"raft": map[string]any{"node_id": c.Storage.NodeID, "path": c.Storage.Path, "log_store": c.Storage.LogStore},
		},
		"telemetry": map[string]any{
			"prometheus_retention_time": seconds(c.Telemetry.PrometheusRetention), "disable_hostname": c.Telemetry.DisableHostname,
			"usage_gauge_period": seconds(c.Telemetry.UsageGaugePeriod),
		},
	}
}

func (l *Listener) sanitized() map[string]any {
	config := map[string]any{"address": l.Address, "max_request_size": l.MaxRequestSize, "max_request_duration": seconds(l.Timeouts.Request)}
	if l.Type == ListenerTCP {
		config["cluster_address"], config["tls_disable"] = l.ClusterAddress, l.TLS.Disable
		if !l.TLS.Disable {
			config["tls_cert_file"], config["tls_key_file"] = l.TLS.CertFile, l.TLS.KeyFile
			config["tls_client_ca_file"], config["tls_require_and_verify_client_cert"] = l.TLS.ClientCAFile, l.TLS.RequireClientCert
			config["tls_min_version"] = l.TLS.MinVersion
		}
	}
	return map[string]any{"type": l.Type, "config": config}
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
