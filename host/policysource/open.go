package policysource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/runtimevar"
	"gocloud.dev/runtimevar/blobvar"
	"gocloud.dev/runtimevar/httpvar"
)

// openVariable opens the variable at a URL. What it opened beside is released
// after the variable is closed.
func openVariable(ctx context.Context, at string, o options) (_ *runtimevar.Variable, release func(), err error) {
	u, err := url.Parse(at)
	switch {
	case err != nil && strings.Contains(at, "@"):
		return nil, nil, errors.New("the URL cannot be parsed, and is not shown as it may hold a password; see whether all that is special in it is percent-encoded")
	case err != nil:
		return nil, nil, err
	}
	defer func() { err = withoutPassword(err, u.User) }()
	nothing := func() {}
	switch u.Scheme {
	case "file":
		v, err := openFile(u, o)
		return v, nothing, err
	case "http", "https":
		client, release := o.client, nothing
		if client == nil {
			transport := http.DefaultTransport.(*http.Transport).Clone()
			client, release = &http.Client{Transport: transport, Timeout: 5 * time.Second}, transport.CloseIdleConnections
		}
		opener := httpvar.URLOpener{Client: limitedClient(client, o.limit), Options: httpvar.Options{WaitDuration: o.interval}}
		v, err := opener.OpenVariableURL(ctx, u)
		return v, release, err
	}
	isBucket, isVariable := blob.DefaultURLMux().ValidBucketScheme(u.Scheme), runtimevar.DefaultURLMux().ValidVariableScheme(u.Scheme)
	switch pkg, known := drivers[u.Scheme]; {
	case isBucket && u.Fragment != "":
		ofBucket := *u
		ofBucket.Fragment, ofBucket.RawFragment = "", ""
		bucket, err := blob.DefaultURLMux().OpenBucketURL(ctx, &ofBucket)
		if err != nil {
			return nil, nil, err
		}
		v, err := blobvar.OpenVariable(bucket, u.Fragment, runtimevar.BytesDecoder, &blobvar.Options{WaitDuration: o.interval})
		return v, func() { _ = bucket.Close() }, err // nothing was written
	case isBucket && !isVariable:
		return nil, nil, fmt.Errorf("%s names a bucket and no object; put its key behind #", u.Redacted())
	case known && !isVariable:
		return nil, nil, fmt.Errorf("the driver for %s:// is not part of this program; import _ %q", u.Scheme, pkg)
	}
	v, err := runtimevar.DefaultURLMux().OpenVariableURL(ctx, u)
	return v, nothing, err
}

// drivers are the packages to import for the schemes of the Go CDK.
var drivers = map[string]string{
	"s3":     "gocloud.dev/blob/s3blob",
	"gs":     "gocloud.dev/blob/gcsblob",
	"azblob": "gocloud.dev/blob/azureblob",

	"awsparamstore":     "gocloud.dev/runtimevar/awsparamstore",
	"awssecretsmanager": "gocloud.dev/runtimevar/awssecretsmanager",
	"gcpruntimeconfig":  "gocloud.dev/runtimevar/gcpruntimeconfig",
	"gcpsecretmanager":  "gocloud.dev/runtimevar/gcpsecretmanager",
	"etcd":              "gocloud.dev/runtimevar/etcdvar",
}

// withoutPassword returns an error whose text does not show the password of a
// URL. Drivers put the URL into theirs as it is.
func withoutPassword(err error, of *url.Userinfo) error {
	if _, has := of.Password(); err == nil || !has {
		return err
	}
	return &redacted{err, strings.ReplaceAll(err.Error(), of.String(), url.UserPassword(of.Username(), "xxxxx").String())}
}

type redacted struct {
	err  error
	text string
}

func (e *redacted) Error() string { return e.text }
func (e *redacted) Unwrap() error { return e.err }
