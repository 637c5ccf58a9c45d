package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

var update = flag.Bool("update", false, "write the golden file anew")

func TestTheExampleRuns(t *testing.T) {
	envoytest.Require(t)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	// The revision is a hash of the image, which other tests are about.
	got := regexp.MustCompile(`revision [0-9a-f]{64}`).ReplaceAllString(out.String(), "revision ············")
	golden := filepath.Join("testdata", "output.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), string(want))
}

func TestThePortsOfEnvoyYAMLAreChangedAndNothingElse(t *testing.T) {
	plain, err := files.ReadFile("envoy.yaml")
	require.NoError(t, err)
	bootstrap, rules, err := prepare("127.0.0.1:12345")
	require.NoError(t, err)
	before, after := strings.Split(string(plain), "\n"), strings.Split(bootstrap, "\n")
	require.Len(t, after, len(before))
	changed := 0
	for i := range before {
		if before[i] != after[i] {
			require.Contains(t, before[i], "port_value")
			changed++
		}
	}
	require.Equal(t, 3, changed)
	for _, s := range scenes(rules)[1:] {
		require.NotEqual(t, rules, s.rules, "the change of rules is one")
	}
}

// What the two do is tested with the attacks on the filter.
func TestTheWaysAroundTheFilterAreClosed(t *testing.T) {
	for name, closes := range map[string]string{"envoy.yaml": "headers_with_underscores_action: REJECT_REQUEST", "filter.yaml": `"on_form_body": "deny"`} {
		b, err := files.ReadFile(name)
		require.NoError(t, err)
		require.Contains(t, string(b), closes)
	}
}

// That the filter takes what is in pluginConfig is tested beside its reader.
func TestTheIstioManifestFailsClosedAndClosesTheSameWays(t *testing.T) {
	b, err := os.ReadFile("wasmplugin.yaml")
	require.NoError(t, err)
	decoder := yaml.NewDecoder(bytes.NewReader(b))
	var kinds, patches []string
	for {
		var manifest struct {
			Kind string
			Spec struct {
				FailStrategy string `yaml:"failStrategy"`
				PluginConfig struct {
					OnFormBody string `yaml:"on_form_body"`
				} `yaml:"pluginConfig"`
				ConfigPatches []struct {
					ApplyTo string `yaml:"applyTo"`
					Patch   struct {
						Operation string
						Value     struct {
							TypedConfig struct {
								CommonHTTPProtocolOptions map[string]string `yaml:"common_http_protocol_options"`
							} `yaml:"typed_config"`
						}
					}
				} `yaml:"configPatches"`
			}
		}
		err := decoder.Decode(&manifest)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		kinds = append(kinds, manifest.Kind)
		if manifest.Kind == "WasmPlugin" {
			require.Equal(t, "FAIL_RELOAD", manifest.Spec.FailStrategy)
			require.Equal(t, "deny", manifest.Spec.PluginConfig.OnFormBody)
		}
		for _, p := range manifest.Spec.ConfigPatches {
			patches = append(patches, strings.Join([]string{p.ApplyTo, p.Patch.Operation,
				p.Patch.Value.TypedConfig.CommonHTTPProtocolOptions["headers_with_underscores_action"]}, " "))
		}
	}
	require.Equal(t, []string{"WasmPlugin", "EnvoyFilter", "EnvoyFilter"}, kinds)
	require.Equal(t, []string{"LISTENER_FILTER INSERT_FIRST ", "NETWORK_FILTER MERGE REJECT_REQUEST"}, patches)
}
