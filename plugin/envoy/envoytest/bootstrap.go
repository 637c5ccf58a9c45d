package envoytest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf8"
)

// Object is a piece of Envoy's configuration.
type Object = map[string]any

// VPCKey is the key of the TLV that listeners with ProxyProtocol keep, for the
// plugin configuration {"from": "proxy_protocol_tlv", "key": VPCKey}.
const VPCKey = "vpc_id"

// Listener is one listener, with or without the filter.
type Listener struct {
	Name string

	// Wasm is the file of the filter, empty for a listener without it.
	Wasm string
	// Configuration is the plugin configuration as JSON.
	Configuration string
	// Update, if not empty, is a file that Watch has written: the filter comes
	// from it, and changes with it.
	Update string

	// ProxyProtocol makes the listener expect the PROXY protocol.
	ProxyProtocol bool
	// TrustedHops makes Envoy take the client's address from
	// X-Forwarded-For, so many hops from the right. Without it the address is
	// the peer's. It implies nothing about who may connect.
	TrustedHops int
	// Filters stand before the filter.
	Filters []any

	// Upstream is the address of the server behind Envoy. Without one Envoy
	// answers 200 itself.
	Upstream string
	// Body is what that answer says.
	Body string
}

// Bootstrap is the configuration of an Envoy with these listeners.
func Bootstrap(listeners ...Listener) (Object, error) {
	var all, clusters []any
	for _, l := range listeners {
		listener, err := l.object()
		if err != nil {
			return nil, err
		}
		all = append(all, listener)
		if l.Upstream != "" {
			cluster, err := cluster("upstream-"+l.Name, l.Upstream)
			if err != nil {
				return nil, err
			}
			clusters = append(clusters, cluster)
		}
	}
	return Object{
		"admin": Object{"address": socketAddress("127.0.0.1", 0)},
		// Memory that V8 used to compile goes back to the system.
		"memory_allocator_manager": Object{"bytes_to_release": 100 << 20, "memory_release_interval": "1s"},
		"static_resources":         Object{"listeners": all, "clusters": clusters},
	}, nil
}

func (l Listener) object() (Object, error) {
	filters := append([]any{}, l.Filters...)
	switch {
	case l.Update != "":
		filters = append(filters, Object{"name": "keymoat", "config_discovery": Object{
			"config_source": Object{"path_config_source": Object{"path": l.Update}, "resource_api_version": "V3"},
			"type_urls":     []any{wasmType},
		}})
	case l.Wasm != "":
		filters = append(filters, Object{"name": "keymoat", "typed_config": Filter(l.Wasm, l.Configuration)})
	}
	filters = append(filters, Object{"name": "envoy.filters.http.router", "typed_config": Object{
		"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}})

	route := Object{"match": Object{"prefix": "/"}}
	if l.Upstream == "" {
		route["direct_response"] = Object{"status": 200, "body": Object{"inline_string": l.Body}}
	} else {
		route["route"] = Object{"cluster": "upstream-" + l.Name}
	}
	manager := Object{
		"@type":        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix":  l.Name,
		"http_filters": filters,
		// The peer's own address, and X-Forwarded-For only where hops are trusted.
		"use_remote_address":   true,
		"xff_num_trusted_hops": l.TrustedHops,
		"route_config": Object{"virtual_hosts": []any{Object{
			"name": l.Name, "domains": []any{"*"}, "routes": []any{route}}}},
	}
	listener := Object{
		"name":    l.Name,
		"address": socketAddress("127.0.0.1", 0),
		"filter_chains": []any{Object{"filters": []any{Object{
			"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}}}},
	}
	if l.ProxyProtocol {
		listener["listener_filters"] = []any{Object{"name": "envoy.filters.listener.proxy_protocol", "typed_config": Object{
			"@type":        "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
			"tlv_location": "FILTER_STATE",
			"rules":        []any{Object{"tlv_type": TLVAlibaba, "on_tlv_present": Object{"key": VPCKey}}},
		}}}
	}
	return listener, nil
}

const wasmType = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"

// Filter is the typed_config of the filter.
func Filter(wasm, configuration string) Object {
	return Object{
		"@type": wasmType,
		"config": Object{
			"name":    "keymoat",
			"root_id": "keymoat",
			// A fault in the VM refuses requests until there is a new VM. The
			// default would refuse them for ever; FAIL_OPEN would let them pass.
			"failure_policy": "FAIL_RELOAD",
			"vm_config": Object{
				"vm_id":   "keymoat",
				"runtime": "envoy.wasm.runtime.v8",
				"code":    Object{"local": Object{"filename": wasm}},
			},
			"configuration": value(configuration),
		},
	}
}

// value wraps a text as the filter gets it. Whatever is no UTF-8 is no text to
// Envoy, and has to reach the filter all the same.
func value(text string) Object {
	if utf8.ValidString(text) {
		return Object{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text}
	}
	return Object{"@type": "type.googleapis.com/google.protobuf.BytesValue", "value": []byte(text)}
}

// Watch writes the file that a Listener's Update names: the filter with its
// configuration. The file is replaced whole, by a rename, as Envoy expects.
func Watch(file, wasm, configuration string) error {
	b, err := json.Marshal(Object{"resources": []any{Object{
		"@type":        "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
		"name":         "keymoat",
		"typed_config": Filter(wasm, configuration),
	}}})
	if err != nil {
		return fmt.Errorf("envoytest: %w", err)
	}
	next := filepath.Join(filepath.Dir(file), ".next."+filepath.Base(file))
	if err := os.WriteFile(next, b, 0o600); err != nil {
		return fmt.Errorf("envoytest: %w", err)
	}
	if err := os.Rename(next, file); err != nil {
		return fmt.Errorf("envoytest: %w", err)
	}
	return nil
}

func cluster(name, address string) (Object, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("envoytest: upstream: %w", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("envoytest: upstream: %w", err)
	}
	return Object{"name": name, "type": "STATIC", "load_assignment": Object{
		"cluster_name": name,
		"endpoints": []any{Object{"lb_endpoints": []any{Object{"endpoint": Object{
			"address": socketAddress(host, n)}}}}},
	}}, nil
}

func socketAddress(host string, port int) Object {
	return Object{"socket_address": Object{"address": host, "port_value": port}}
}
