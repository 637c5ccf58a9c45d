package httpguard

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/keymoat/keymoat/plugin/denial"
)

// refuse answers a request that may not go on.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, j *judgement) {
	d := denial.Denial{
		Problem:   j.problem,
		Reason:    j.decision.Reason,
		SourceIP:  j.source.seen(),
		VPCID:     j.vpcID,
		RequestID: r.Header.Get("X-Request-Id"),
		Host:      r.Host,
	}
	h := w.Header()
	for _, header := range g.format.Headers() {
		h.Set(header.Name, header.Value)
	}
	if isGRPC(r) {
		refuseGRPC(w, &d)
		return
	}
	body := g.format.Append(make([]byte, 0, 512), &d)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(d.Status(g.status))
	_, _ = w.Write(body) // to a caller who is gone there is nothing to say
}

// isGRPC reports whether a request is a gRPC call.
func isGRPC(r *http.Request) bool {
	const grpc = "application/grpc"
	t := r.Header.Get("Content-Type")
	if !strings.HasPrefix(t, grpc) {
		return false
	}
	t, _, _ = mime.ParseMediaType(t)
	return t == grpc || strings.HasPrefix(t, grpc+"+")
}

// refuseGRPC answers a gRPC call: with headers alone, the status among them.
func refuseGRPC(w http.ResponseWriter, d *denial.Denial) {
	const permissionDenied = "7"
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", permissionDenied)
	h.Set("Grpc-Message", percentEncoded(d.AppendMessage(nil)))
	w.WriteHeader(http.StatusOK)
}

// percentEncoded encodes a message as gRPC has it in headers.
func percentEncoded(message []byte) string {
	const hexadecimal = "0123456789ABCDEF"
	b := make([]byte, 0, len(message)+16)
	for _, c := range message {
		if c < ' ' || c > '~' || c == '%' {
			b = append(b, '%', hexadecimal[c>>4], hexadecimal[c&0xf])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}
