//go:build !wasip1

package abi

import "encoding/json"

// UnmarshalJSON reads what MarshalJSON writes. Whatever d was before, a field
// that is absent ends up zero: a decision read into a used variable must not
// keep an effect that was not sent.
//
// Hosts alone need it, and the guest is smaller without encoding/json.
func (d *Decision) UnmarshalJSON(b []byte) error {
	type plain Decision // without methods, so that the fields are read one by one
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*d = Decision(p)
	return nil
}
