package policy

import (
	"github.com/keymoat/keymoat/abi/ip"
	"github.com/keymoat/keymoat/plugin/strictjson"
)

// set is a policy set that has been read and found valid. Strings may alias
// the document.
type set struct {
	accounts   []holder
	keys       []holder
	exemptions []exemption
}

// holder is an account or a key.
type holder struct {
	id      string  // a zero byte for the account of a bare access key policy
	policy  *policy // nil for none
	account int     // of a key: index in set.accounts
}

// policy is an access key policy.
type policy struct {
	state      uint8 // as in the image
	statements []statement

	at uint32 // offset in the image, set by the builder
}

type statement struct {
	vpc  string // empty for the public network, or a VPC id, or AllowAllVPC
	list *entryList
}

// entryList is the content of an IPList. Statements whose IPList has the same
// text share one: most keys of a large set share a few lists, and none is read
// or built twice.
type entryList struct {
	entries []ip.Prefix // IPv4-mapped ones unmapped
	origins []origin    // of the entries

	errors, warnings strictjson.Findings // pointers count from the IPList
	private          int                 // number of private entries, doubtful in a public statement alone

	placed bool   // set by the builder
	at     uint32 // offset among the lists, set by the builder
}

// exemption is a service, an action and a protocol; an empty one of the latter
// two is any.
type exemption [3]string

// builtinExemptions are the services on which the policies have no effect
// (the seed's note under "Important"), under the names that the clouds' APIs
// and audit records give them.
var builtinExemptions = []exemption{
	{"RocketMQ"}, {"Ons"}, {"MQ"}, // ApsaraMQ for RocketMQ
	{"RabbitMQ"}, {"amqp-open"}, // ApsaraMQ for RabbitMQ
	{"MQTT"}, {"OnsMqtt"}, // ApsaraMQ for MQTT
	{"EventBridge"},
	{"SMQ"}, {"MNS"}, {"MNS-open"}, {"SimpleMessageQueue"}, // Simple Message Queue, formerly MNS
	{"Hologres"}, {"Hologram"},
	// CloudMonitor only where it reports event monitoring data over HTTP.
	{"Cms", "PutCustomEvent", "HTTP"}, {"CloudMonitor", "PutCustomEvent", "HTTP"},
}
