package credential_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/plugin/credential"
)

func TestAFormIsKnownByItsContentType(t *testing.T) {
	for _, value := range []string{
		"application/x-www-form-urlencoded", "APPLICATION/X-WWW-FORM-URLENCODED", "application/x-www-form-urlencoded; charset=utf-8", " application/x-www-form-urlencoded",
		"multipart/form-data; boundary=x", "multipart/Form-Data", "text/plain, application/x-www-form-urlencoded", "application/x-www-form-urlencoded;;;", "multipart/form-data",
	} {
		for _, name := range []string{"Content-Type", "content-type", "CONTENT-TYPE", "content_type"} {
			var f credential.Finder
			f.Header(name, "text/plain")
			require.False(t, f.Form(), "before %q", value)
			f.Header(name, value)
			f.Header(name, "text/plain")
			require.True(t, f.Form(), value)
			_, outcome := f.Result()
			require.Equal(t, credential.None, outcome, "a form is no claim")
		}
	}
	for _, value := range []string{"", "text/plain", "application/json", "form", "multipart/mixed", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "form-dat"} {
		var f credential.Finder
		f.Header("Content-Type", value)
		f.Header("X-Content-Type", "application/x-www-form-urlencoded")
		require.False(t, f.Form(), value)
	}
	require.Contains(t, credential.HeaderNames(), "content-type", "hosts pass on what a Finder reads")
}
