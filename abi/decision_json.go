//go:build !wasip1

package abi

import "encoding/json"

// UnmarshalJSON reads what MarshalJSON writes. Hosts alone need it, and the
// guest is smaller without encoding/json.
func (d *Decision) UnmarshalJSON(b []byte) error {
	type plain Decision // without methods, so that the fields are read one by one
	return json.Unmarshal(b, (*plain)(d))
}
