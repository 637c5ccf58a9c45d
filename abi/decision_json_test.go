//go:build !wasip1

package abi_test

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// decisionJSON is the form of a decision as encoding/json would write it.
type decisionJSON struct {
	Effect    abi.Effect
	Reason    abi.Reason
	Level     abi.Level
	Network   abi.Network
	Statement *int          `json:",omitempty"`
	Entry     *netip.Prefix `json:",omitempty"`
	Code      string        `json:",omitempty"`
}

func TestADecisionsJSONIsWhatEncodingJSONWouldWrite(t *testing.T) {
	for _, d := range decisions() {
		form := decisionJSON{Effect: d.Effect, Reason: d.Reason, Level: d.Level, Network: d.Network, Code: d.Code()}
		if d.Entry.IsValid() {
			form.Statement, form.Entry = &d.Statement, &d.Entry
		}
		want, err := json.Marshal(form)
		require.NoError(t, err)
		require.Equal(t, string(want), string(d.AppendJSON(nil)))
		require.Equal(t, "before"+string(want), string(d.AppendJSON([]byte("before"))))

		got, err := json.Marshal(d)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
		var read abi.Decision
		require.NoError(t, json.Unmarshal(got, &read))
		require.Equal(t, d, read)
	}
}

func TestAUsedDecisionKeepsNothingThatIsNotSent(t *testing.T) {
	allowed := abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonMatched, Level: abi.LevelAccessKey, Network: abi.NetworkVPC,
		Statement: 3, Entry: netip.MustParsePrefix("10.0.0.0/8")}
	d := allowed
	require.NoError(t, json.Unmarshal([]byte(`{}`), &d))
	require.Zero(t, d)

	d = allowed
	require.NoError(t, json.Unmarshal([]byte(`{"Effect":"Deny","Reason":"SourceIPNotListed","Level":"Account","Network":"Public"}`), &d))
	require.Equal(t, abi.Decision{Reason: abi.ReasonSourceIPNotListed, Level: abi.LevelAccount}, d)
}

func TestADecisionWithAnUnknownNameIsAnError(t *testing.T) {
	for _, text := range []string{`{"Effect":"allow"}`, `{"Effect":1}`, `{"Reason":"Reason(0)"}`, `{"Level":""}`, `{"Network":"Vpc"}`, `{"Entry":"10.0.0.0"}`, `{"Statement":"1"}`, `[]`} {
		d := abi.Decision{Reason: abi.ReasonMatched}
		require.Error(t, json.Unmarshal([]byte(text), &d), text)
		require.Equal(t, abi.Decision{Reason: abi.ReasonMatched}, d, "left as it was")
	}
}
