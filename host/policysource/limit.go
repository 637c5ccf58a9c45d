package policysource

import (
	"fmt"
	"io"
	"net/http"
)

func tooLarge(limit int64) error {
	return fmt.Errorf("the document has more bytes than the limit of %d (WithSizeLimit)", limit)
}

// limited returns a reader that fails when there is more to read than the limit.
func limited(from io.Reader, limit int64) io.Reader { return &limitedReader{from, limit, limit} }

type limitedReader struct {
	from        io.Reader
	left, limit int64
}

func (l *limitedReader) Read(b []byte) (int, error) {
	if l.left < int64(len(b)) {
		b = b[:l.left+1] // one more shows that there is more
	}
	n, err := l.from.Read(b)
	if int64(n) > l.left {
		n, err = int(l.left), tooLarge(l.limit)
	}
	l.left -= int64(n)
	return n, err
}

// limitedClient returns a client like this one whose bodies are limited.
func limitedClient(c *http.Client, limit int64) *http.Client {
	like, inner := *c, c.Transport
	if inner == nil {
		inner = http.DefaultTransport
	}
	like.Transport = limitedTransport{inner, limit}
	return &like
}

type limitedTransport struct {
	inner http.RoundTripper
	limit int64
}

// RoundTrip implements http.RoundTripper.
func (t limitedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := t.inner.RoundTrip(r)
	if err == nil {
		a.Body = struct {
			io.Reader
			io.Closer
		}{limited(a.Body, t.limit), a.Body}
	}
	return a, err
}
