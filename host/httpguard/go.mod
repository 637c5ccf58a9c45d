module github.com/keymoat/keymoat/host/httpguard

go 1.26.0

replace github.com/keymoat/keymoat => ../..

require (
	github.com/go-json-experiment/json v1.27.2
	github.com/keymoat/keymoat v0.0.0
	github.com/pires/go-proxyproto v0.15.0
	github.com/stretchr/testify v1.12.1
	go.opentelemetry.io/otel v1.46.0
	go.opentelemetry.io/otel/metric v1.46.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/tetratelabs/wazero v1.12.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
