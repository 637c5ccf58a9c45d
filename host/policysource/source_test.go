package policysource_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/runtimevar"
	"gocloud.dev/runtimevar/blobvar"
	"gocloud.dev/runtimevar/constantvar"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/policysource"
	"github.com/keymoat/keymoat/plugin/policy"
)

// office is a policy that allows one network.
func office(network string) string {
	return fmt.Sprintf(`{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["%s"]}]}`, network)
}

var (
	before, after = office("203.0.113.0/24"), office("198.51.100.0/24")
	doubtful      = `{"Status":"Active","Statements":[]}`
	bad           = `{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["everywhere"]}]}`
)

// inForce tells which of the two policies an evaluator goes by.
func inForce(t testing.TB, e host.Evaluator) string {
	for _, document := range []string{before, after} {
		network := netip.MustParsePrefix(strings.Split(document, `"`)[13])
		d, err := e.Evaluate(context.Background(), abi.Request{AccessKeyID: "LTAI5tExample0000000001", SourceIP: network.Addr().Next()})
		require.NoError(t, err)
		if d.Allowed() {
			return document
		}
	}
	return ""
}

const wait = 20 * time.Second // for what should take milliseconds

// watched is a source, what it loads and what it says.
type watched struct {
	*policysource.Source
	evaluator *host.Native
	changes   chan policysource.Change
	log       *lines
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// open watches what a function opens, which gets the options to do it with.
func open(t testing.TB, with func(host.Evaluator, ...policysource.Option) (*policysource.Source, error)) *watched {
	w := &watched{evaluator: host.NewNative(), changes: make(chan policysource.Change, 100), log: &lines{}}
	var err error
	w.Source, err = with(w.evaluator, policysource.WithInterval(2*time.Millisecond),
		policysource.OnChange(func(c policysource.Change) { w.changes <- c }),
		policysource.WithLogger(slog.New(slog.NewJSONHandler(w.log, nil))))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	w.loaded(t)
	return w
}

func openURL(t testing.TB, at string, more ...policysource.Option) *watched {
	return open(t, func(e host.Evaluator, opts ...policysource.Option) (*policysource.Source, error) {
		return policysource.Open(t.Context(), e, at, append(opts, more...)...)
	})
}

// next waits for the next change.
func (w *watched) next(t testing.TB) policysource.Change {
	select {
	case c := <-w.changes:
		return c
	case <-time.After(wait):
		require.FailNow(t, "nothing changes")
		return policysource.Change{}
	}
}

func (w *watched) loaded(t testing.TB) {
	c := w.next(t)
	require.NoError(t, c.Err)
	require.Equal(t, policysource.Loaded, c.Outcome)
	require.Equal(t, w.evaluator.Revision(), c.Revision)
	require.NoError(t, w.Err())
}

// refused waits for a change that leaves the former rules in force.
func (w *watched) refused(t testing.TB, outcome policysource.Outcome) error {
	former := w.evaluator.Revision()
	c := w.next(t)
	require.Equal(t, outcome, c.Outcome)
	require.Error(t, c.Err)
	require.Empty(t, c.Revision)
	require.Equal(t, former, w.evaluator.Revision())
	require.ErrorIs(t, w.Err(), c.Err)
	require.Contains(t, w.log.String(), "the former rules stay")
	return c.Err
}

func write(t testing.TB, path, content string) string {
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// replace puts a file in the place of another, as it should be done.
func replace(t testing.TB, path, content string) {
	require.NoError(t, os.Rename(write(t, path+".new", content), path))
}

func fileURL(path string) string { return "file://" + filepath.ToSlash(path) }

func TestAFileIsInForceHoweverItChanges(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir, path string){
		"replaced": func(t *testing.T, _, path string) { replace(t, path, after) },
		"replaced while somebody holds it open": func(t *testing.T, _, path string) {
			f, err := os.Open(path)
			require.NoError(t, err)
			t.Cleanup(func() { _ = f.Close() })
			replace(t, path, after)
		},
		"written over": func(t *testing.T, _, path string) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(t, err)
			_, err = f.WriteString(after + strings.Repeat(" ", max(0, len(before)-len(after))))
			require.NoError(t, err)
			require.NoError(t, f.Close())
		},
		"written over with its old time": func(t *testing.T, _, path string) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			replace(t, path, after)
			require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		},
		"a link that is pointed elsewhere": func(t *testing.T, dir, path string) {
			write(t, filepath.Join(dir, "other.json"), after)
			require.NoError(t, os.Symlink("other.json", path+".new"))
			require.NoError(t, os.Rename(path+".new", path))
		},
		"moved out of its folder and another in": func(t *testing.T, dir, path string) {
			require.NoError(t, os.Rename(path, filepath.Join(dir, "old.json")))
			require.NoError(t, os.Rename(write(t, filepath.Join(dir, "new.json"), after), path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := write(t, filepath.Join(dir, "policies.json"), before)
			w := openURL(t, fileURL(path))
			require.Equal(t, before, inForce(t, w.evaluator))
			change(t, dir, path)
			for c := w.next(t); c.Outcome != policysource.Loaded || inForce(t, w.evaluator) == before; c = w.next(t) {
				require.NotEqual(t, policysource.Loaded, c.Outcome, "it may be gone or halfway there for a moment, and no more")
			}
			require.Equal(t, after, inForce(t, w.evaluator))
		})
	}
}

func TestAFileThatIsWrittenOverWithTheSizeAndTheTimeItHadIsReadAgain(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before+strings.Repeat(" ", len(after)-len(before)))
	long := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(path, long, long))
	w := openURL(t, fileURL(path), policysource.WithInterval(100*time.Millisecond))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteString(after)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, os.Chtimes(path, long, long))
	w.loaded(t)
	require.Equal(t, after, inForce(t, w.evaluator))
}

// Such a file is not read each time, but looked at.
func TestALargeFileIsInForceWhenItChanges(t *testing.T) {
	padding := strings.Repeat(" ", 2<<20)
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before+padding)
	w := openURL(t, fileURL(path))
	replace(t, path, after+padding)
	w.loaded(t)
	require.Equal(t, after, inForce(t, w.evaluator))
}

// A volume of a ConfigMap: a link to a link to a folder that is exchanged and removed.
func TestAFolderBehindLinksMayBeExchanged(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"1": before, "2": after} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		write(t, filepath.Join(dir, name, "policies.json"), content)
	}
	require.NoError(t, os.Symlink("1", filepath.Join(dir, "data")))
	path := filepath.Join(dir, "policies.json")
	require.NoError(t, os.Symlink("data/policies.json", path))
	w := openURL(t, fileURL(path))

	require.NoError(t, os.Symlink("2", filepath.Join(dir, "data.new")))
	require.NoError(t, os.Rename(filepath.Join(dir, "data.new"), filepath.Join(dir, "data")))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "1")))
	w.loaded(t)
	require.Equal(t, after, inForce(t, w.evaluator))
}

func TestABadDocumentIsReportedAndTheFormerRulesStay(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	w := openURL(t, fileURL(path))

	replace(t, path, bad)
	err := w.refused(t, policysource.Refused)
	require.ErrorIs(t, err, abi.StatusInvalidDocument)
	require.Equal(t, before, inForce(t, w.evaluator))
	require.Contains(t, w.log.String(), "/Statements/0/IPList/0: ")
	require.Contains(t, w.log.String(), "(InvalidEntry)")

	for _, worse := range []string{"", "{", "null", "\xff", "KEYMOAT"} {
		replace(t, path, worse)
		w.refused(t, policysource.Refused)
		require.Equal(t, before, inForce(t, w.evaluator), "%q", worse)
	}

	replace(t, path, after)
	w.loaded(t)
	require.Equal(t, after, inForce(t, w.evaluator))
}

func TestTheFormerDocumentAgainIsAllRightAgain(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	w := openURL(t, fileURL(path))
	replace(t, path, bad)
	w.refused(t, policysource.Refused)
	replace(t, path, before)
	w.loaded(t)
	require.Equal(t, before, inForce(t, w.evaluator))
}

func TestTheFormerDocumentAgainIsLoadedAgainIfOtherRulesAreInForce(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	w := openURL(t, fileURL(path))
	_, err := w.evaluator.Load(t.Context(), []byte(after)) // by hand
	require.NoError(t, err)
	replace(t, path, bad)
	w.refused(t, policysource.Refused)
	replace(t, path, before)
	w.loaded(t)
	require.Equal(t, before, inForce(t, w.evaluator))
}

func TestAFileThatIsGoneIsReportedUntilItIsBack(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	w := openURL(t, fileURL(path))
	require.NoError(t, os.Remove(path))
	w.refused(t, policysource.Unavailable)
	require.Equal(t, before, inForce(t, w.evaluator))
	replace(t, path, after)
	w.loaded(t)
	require.Equal(t, after, inForce(t, w.evaluator))
}

func TestAnImageIsADocument(t *testing.T) {
	image, _, err := policy.Compile([]byte(before))
	require.NoError(t, err)
	path := write(t, filepath.Join(t.TempDir(), "policies.image"), string(image))
	w := openURL(t, fileURL(path))
	require.Equal(t, before, inForce(t, w.evaluator))

	replace(t, path, string(image[:len(image)-1]))
	require.ErrorIs(t, w.refused(t, policysource.Refused), abi.StatusInvalidImage)

	replace(t, path, after)
	w.loaded(t)
	require.Equal(t, after, inForce(t, w.evaluator))
}

func TestWarningsAreReported(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	w := openURL(t, fileURL(path))
	replace(t, path, doubtful)
	c := w.next(t)
	require.Equal(t, policysource.Loaded, c.Outcome)
	require.Len(t, c.Warnings, 1)
	require.Contains(t, w.log.String(), `"level":"WARN"`)
	require.Contains(t, w.log.String(), string(c.Warnings[0].Code))
}

func TestWarningsAreReportedAgainWhenTheDocumentIsBack(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	w := openURL(t, fileURL(path))
	replace(t, path, doubtful)
	warnings := w.next(t).Warnings
	require.Len(t, warnings, 1)
	replace(t, path, bad)
	w.refused(t, policysource.Refused)
	replace(t, path, doubtful)
	require.Equal(t, warnings, w.next(t).Warnings)
}

// hooked is an evaluator that calls a function first, which may fail.
type hooked struct {
	host.Evaluator
	load     func(document string) error
	validate func(document string) error
}

func (h hooked) Load(ctx context.Context, document []byte) (host.Revision, error) {
	if h.load != nil {
		if err := h.load(string(document)); err != nil {
			return "", err
		}
	}
	return h.Evaluator.Load(ctx, document)
}

func (h hooked) Validate(ctx context.Context, document []byte) (abi.Report, error) {
	if h.validate != nil {
		if err := h.validate(string(document)); err != nil {
			return abi.Report{}, err
		}
	}
	return h.Evaluator.Validate(ctx, document)
}

// openHooked watches a file that an evaluator with hooks loads.
func openHooked(t *testing.T, path string, h hooked) *watched {
	return open(t, func(e host.Evaluator, opts ...policysource.Option) (*policysource.Source, error) {
		h.Evaluator = e
		return policysource.Open(t.Context(), h, fileURL(path), opts...)
	})
}

func TestADocumentThatCouldNotBeLoadedIsTriedAgain(t *testing.T) {
	for name, fault := range map[string]func() error{
		"an error":               func() error { return errors.New("out of order") },
		"an error with a status": func() error { return abi.StatusInternal },
		"a panic":                func() error { panic("out of order") },
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
			const most = 5
			var n atomic.Int32
			w := openHooked(t, path, hooked{load: func(document string) error {
				if document == after && n.Add(1) <= most {
					return fault()
				}
				return nil
			}})
			replace(t, path, after)
			require.ErrorContains(t, w.refused(t, policysource.Failed), "cannot be loaded")
			w.loaded(t) // the failure is told once
			require.Equal(t, after, inForce(t, w.evaluator))
			require.Equal(t, int32(most+1), n.Load())
		})
	}
}

func TestAnOutageIsToldAfterManyFailuresThatAreOver(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	var n atomic.Int32
	w := openHooked(t, path, hooked{load: func(document string) error {
		if document == after && n.Add(1) <= 25 {
			return fmt.Errorf("%d bytes too few", n.Load())
		}
		return nil
	}})
	replace(t, path, after)
	for range 20 { // more are not told
		w.refused(t, policysource.Failed)
	}
	w.loaded(t)
	require.NoError(t, os.Remove(path))
	w.refused(t, policysource.Unavailable)
	require.Error(t, w.Err())
}

func TestADocumentThatIsTooLargeIsNotTriedAgain(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	var n atomic.Int32
	w := openHooked(t, path, hooked{load: func(document string) error {
		if document == after {
			n.Add(1)
			return abi.StatusTooLarge
		}
		return nil
	}})
	replace(t, path, after)
	w.refused(t, policysource.Refused)
	replace(t, path, bad) // told after further looks
	w.refused(t, policysource.Refused)
	require.Equal(t, int32(1), n.Load())
}

func TestADocumentThatCouldNotBeLoadedGivesWayToAnother(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	w := openHooked(t, path, hooked{load: func(document string) error {
		if document == after {
			return errors.New("out of order")
		}
		return nil
	}})
	replace(t, path, after)
	w.refused(t, policysource.Failed)
	replace(t, path, bad)
	w.refused(t, policysource.Refused)
	replace(t, path, after)
	w.refused(t, policysource.Failed)
	require.NoError(t, os.Remove(path))
	w.refused(t, policysource.Unavailable)
	replace(t, path, before)
	w.loaded(t)
}

func TestAnEvaluatorThatCannotLoadIsNotOpened(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	h := hooked{Evaluator: host.NewNative(), load: func(string) error { panic("out of order") }}
	_, err := policysource.Open(t.Context(), h, fileURL(path), policysource.WithLogger(slog.New(slog.DiscardHandler)))
	require.ErrorContains(t, err, "panic: out of order")
}

func TestWarningsThatCannotBeToldChangeNothingElse(t *testing.T) {
	for name, fault := range map[string]func() error{
		"an error": func() error { return errors.New("out of order") },
		"a panic":  func() error { panic("out of order") },
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
			w := openHooked(t, path, hooked{validate: func(string) error { return fault() }})
			replace(t, path, after)
			w.loaded(t)
			require.Equal(t, after, inForce(t, w.evaluator))
			require.Contains(t, w.log.String(), `"level":"ERROR","msg":"keymoat: the warnings about the new rules cannot be told"`)
			require.Contains(t, w.log.String(), "out of order")
		})
	}
}

func TestAPanicOfTheCallersFunctionEndsNothing(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	w := &watched{evaluator: host.NewNative(), changes: make(chan policysource.Change, 100), log: &lines{}}
	var err error
	w.Source, err = policysource.Open(t.Context(), w.evaluator, fileURL(path), policysource.WithInterval(2*time.Millisecond),
		policysource.OnChange(func(c policysource.Change) { w.changes <- c; panic("out of order") }),
		policysource.WithLogger(slog.New(slog.NewJSONHandler(w.log, nil))))
	require.NoError(t, err)
	w.loaded(t)
	replace(t, path, after)
	w.loaded(t)
	require.NoError(t, w.Close())
	require.Equal(t, 2, strings.Count(w.log.String(), `"level":"ERROR","msg":"keymoat: the function of OnChange failed"`))
}

func TestANewerDocumentDoesNotWaitForWarnings(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	put := func(document string) {
		require.NoError(t, bucket.WriteAll(t.Context(), "policies.json", []byte(document), nil))
	}
	put(before)
	variable, err := blobvar.OpenVariable(bucket, "policies.json", runtimevar.BytesDecoder, &blobvar.Options{WaitDuration: time.Millisecond})
	require.NoError(t, err)
	var validated lines
	var meanwhile atomic.Value // what comes while the doubtful one is loaded
	meanwhile.Store(after)
	w := open(t, func(e host.Evaluator, opts ...policysource.Option) (*policysource.Source, error) {
		return policysource.Watch(t.Context(), hooked{
			Evaluator: e,
			load: func(document string) error {
				if document != doubtful {
					return nil
				}
				next := meanwhile.Load().(string)
				put(next)
				for deadline := time.Now().Add(wait); time.Now().Before(deadline); runtime.Gosched() {
					if latest, err := variable.Latest(t.Context()); err == nil && string(latest.Value.([]byte)) == next {
						return nil
					}
				}
				return errors.New("the variable does not change")
			},
			validate: func(document string) error { _, err := io.WriteString(&validated, document+"\n"); return err },
		}, variable, opts...)
	})
	put(doubtful)
	c := w.next(t)
	require.Equal(t, policysource.Loaded, c.Outcome)
	require.Empty(t, c.Warnings)
	w.loaded(t)
	require.Equal(t, after, inForce(t, w.evaluator))
	require.Equal(t, before+"\n"+after+"\n", validated.String())

	meanwhile.Store(bad)
	put(doubtful)
	require.Empty(t, w.next(t).Warnings)
	w.refused(t, policysource.Refused)
	meanwhile.Store(doubtful)
	put(doubtful)
	require.Len(t, w.next(t).Warnings, 1, "they are told as soon as there is time for them")
}

func TestARelativeFileIsOneOfTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "policies.json", before)
	w := openURL(t, "file://./policies.json")
	require.Equal(t, before, inForce(t, w.evaluator))
}

// site is an HTTP server that answers as it is told.
type site struct {
	*httptest.Server
	answer atomic.Value
}

func newSite(t *testing.T, first http.HandlerFunc) *site {
	s := &site{}
	s.answer.Store(first)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.answer.Load().(http.HandlerFunc)(w, r) }))
	t.Cleanup(s.Close)
	return s
}

func (s *site) now(h http.HandlerFunc) { s.answer.Store(h) }

func document(content string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, content) }
}

func TestADocumentOfAnHTTPServer(t *testing.T) {
	s := newSite(t, document(before))
	w := openURL(t, s.URL+"/policies.json?version=1")
	require.Equal(t, before, inForce(t, w.evaluator))

	s.now(document(after))
	w.loaded(t)
	require.Equal(t, after, inForce(t, w.evaluator))

	s.now(document(bad))
	w.refused(t, policysource.Refused)
	s.now(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, before, http.StatusInternalServerError) })
	w.refused(t, policysource.Unavailable)
	require.Equal(t, after, inForce(t, w.evaluator), "the page of an error is no document")
	s.now(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	w.refused(t, policysource.Unavailable)
	s.now(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000") // cut off in the middle
		_, _ = io.WriteString(w, before)
	})
	w.refused(t, policysource.Unavailable)
	require.Equal(t, after, inForce(t, w.evaluator))

	s.now(document(before))
	w.loaded(t)
	require.Equal(t, before, inForce(t, w.evaluator))
}

func TestADocumentAboveTheSizeLimitIsNotRead(t *testing.T) {
	limit := policysource.WithSizeLimit(int64(len(before)))
	check := func(t *testing.T, w *watched, put func(string)) {
		put(before + " ")
		require.ErrorContains(t, w.refused(t, policysource.Unavailable), fmt.Sprintf("more bytes than the limit of %d (WithSizeLimit)", len(before)))
		require.Equal(t, before, inForce(t, w.evaluator))
		put(before)
		w.loaded(t)
	}
	t.Run("file", func(t *testing.T) {
		path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
		check(t, openURL(t, fileURL(path), limit), func(document string) { replace(t, path, document) })
	})
	t.Run("HTTP", func(t *testing.T) {
		s := newSite(t, document(before))
		check(t, openURL(t, s.URL, limit), func(content string) { s.now(document(content)) })
	})
	t.Run("HTTP without an end, by a client of the caller's", func(t *testing.T) {
		s := newSite(t, document(before))
		check(t, openURL(t, s.URL, limit, policysource.WithHTTPClient(&http.Client{Transport: &http.Transport{}})), func(content string) {
			if content == before {
				s.now(document(content))
				return
			}
			s.now(func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					_, _ = io.WriteString(w, content)
				}
			})
		})
	})
}

func TestAServerThatDoesNotAnswerIsReported(t *testing.T) {
	s := newSite(t, document(before))
	w := openURL(t, s.URL, policysource.WithHTTPClient(&http.Client{Timeout: 50 * time.Millisecond}))
	s.now(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	err := w.refused(t, policysource.Unavailable)
	var timeout net.Error
	require.True(t, errors.As(err, &timeout) && timeout.Timeout() || strings.Contains(err.Error(), "Timeout"), err)
	s.now(document(after))
	w.loaded(t)
}

func TestAnErrorThatLastsIsToldOnce(t *testing.T) {
	s := newSite(t, document(before))
	w := openURL(t, s.URL)
	const most = 30
	var n atomic.Int32
	s.now(func(rw http.ResponseWriter, r *http.Request) {
		if n.Add(1) > most {
			document(after)(rw, r)
			return
		}
		c, _, err := http.NewResponseController(rw).Hijack()
		if err == nil {
			err = c.(*net.TCPConn).SetLinger(0)
		}
		if err == nil {
			err = c.Close() // which resets it; the client's error names its port
		}
		if err != nil {
			t.Error(err)
		}
	})
	told := map[string]bool{}
	for c := w.next(t); c.Outcome != policysource.Loaded; c = w.next(t) {
		require.Equal(t, policysource.Unavailable, c.Outcome)
		text := regexp.MustCompile(`:\d+`).ReplaceAllString(c.Err.Error(), "")
		require.NotContains(t, told, text)
		told[text] = true
	}
	require.NotEmpty(t, told)
	require.Less(t, len(told), most/2)
	require.Equal(t, len(told), strings.Count(w.log.String(), "the former rules stay"))
	require.Equal(t, after, inForce(t, w.evaluator))

	s.now(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
	w.refused(t, policysource.Unavailable)
	s.now(document(after))
	w.loaded(t)
	s.now(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) })
	w.refused(t, policysource.Unavailable) // another outage
}

func TestOfAnOutageWithEverNewErrorsSomeAreTold(t *testing.T) {
	s := newSite(t, document(before))
	w := openURL(t, s.URL)
	const many = 50
	var n atomic.Int32
	s.now(func(rw http.ResponseWriter, r *http.Request) {
		if i := int(n.Add(1)); i <= many {
			rw.WriteHeader(http.StatusInternalServerError + i)
		} else {
			document(after)(rw, r)
		}
	})
	for range 20 {
		require.Equal(t, policysource.Unavailable, w.next(t).Outcome)
	}
	require.Equal(t, policysource.Loaded, w.next(t).Outcome)
}

func TestAVariableThatSomebodyClosesEndsTheWatch(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	require.NoError(t, bucket.WriteAll(t.Context(), "policies.json", []byte(before), nil))
	running := runtime.NumGoroutine()
	variable, err := blobvar.OpenVariable(bucket, "policies.json", runtimevar.BytesDecoder, &blobvar.Options{WaitDuration: time.Millisecond})
	require.NoError(t, err)
	w := open(t, func(e host.Evaluator, opts ...policysource.Option) (*policysource.Source, error) {
		return policysource.Watch(t.Context(), e, variable, opts...)
	})
	require.NoError(t, variable.Close())
	require.ErrorIs(t, w.refused(t, policysource.Unavailable), runtimevar.ErrClosed)
	for deadline := time.Now().Add(wait); runtime.NumGoroutine() > running; runtime.Gosched() {
		require.True(t, time.Now().Before(deadline), "something still runs")
	}
	require.Empty(t, w.changes)
	require.Equal(t, before, inForce(t, w.evaluator))
}

func TestAnObjectInABucket(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	require.NoError(t, bucket.WriteAll(t.Context(), "policies.json", []byte(before), nil))
	w := open(t, func(e host.Evaluator, opts ...policysource.Option) (*policysource.Source, error) {
		v, err := blobvar.OpenVariable(bucket, "policies.json", runtimevar.BytesDecoder, &blobvar.Options{WaitDuration: time.Millisecond})
		require.NoError(t, err)
		return policysource.Watch(t.Context(), e, v, opts...)
	})
	require.Equal(t, before, inForce(t, w.evaluator))
	require.NoError(t, bucket.WriteAll(t.Context(), "policies.json", []byte(after), nil))
	w.loaded(t)
	require.Equal(t, after, inForce(t, w.evaluator))
	require.NoError(t, bucket.Delete(t.Context(), "policies.json"))
	w.refused(t, policysource.Unavailable)
}

// buckets are folders, under a scheme of their own as those of the clouds have.
type buckets struct{}

func (buckets) OpenBucketURL(_ context.Context, u *url.URL) (*blob.Bucket, error) {
	if u.Host != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the URL of a bucket is expected")
	}
	return fileblob.OpenBucket(u.Path, nil)
}

func init() { blob.DefaultURLMux().RegisterBucket("bucket", buckets{}) }

func TestAnObjectByURL(t *testing.T) {
	dir := t.TempDir()
	bucket, err := fileblob.OpenBucket(dir, nil)
	require.NoError(t, err)
	defer bucket.Close()
	require.NoError(t, bucket.WriteAll(t.Context(), "rules/policies.json", []byte(before), nil))
	w := openURL(t, "bucket://"+filepath.ToSlash(dir)+"#rules/policies.json")
	require.Equal(t, before, inForce(t, w.evaluator))
	require.NoError(t, bucket.WriteAll(t.Context(), "rules/policies.json", []byte(after), nil))
	w.loaded(t)
	require.Equal(t, after, inForce(t, w.evaluator))
}

func TestWhatCannotBeInForceIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	good := write(t, filepath.Join(dir, "good.json"), before)
	wrong := write(t, filepath.Join(dir, "bad.json"), bad)
	for name, at := range map[string]string{
		"no URL":                     "",
		"a path":                     good,
		"a control character":        "file:///\x00",
		"an unknown scheme":          "ftp://example.com/policies.json",
		"no file":                    fileURL(filepath.Join(dir, "none.json")),
		"a folder":                   fileURL(dir),
		"a file of another host":     "file://example.com/policies.json",
		"a file with parameters":     fileURL(good) + "?decoder=jsonmap",
		"a file with a fragment":     fileURL(good) + "#other",
		"a file without a path":      "file://",
		"a bad document":             fileURL(wrong),
		"a server that is not there": "http://127.0.0.1:1/policies.json",
	} {
		t.Run(name, func(t *testing.T) {
			e := host.NewNative()
			s, err := policysource.Open(t.Context(), e, at, policysource.WithLogger(slog.New(slog.DiscardHandler)))
			require.ErrorContains(t, err, "policysource: ")
			require.Nil(t, s)
			require.Empty(t, e.Revision())
		})
	}
	_, err := policysource.Open(t.Context(), host.NewNative(), fileURL(good), policysource.WithInterval(0))
	require.ErrorContains(t, err, "interval")
	_, err = policysource.Watch(t.Context(), host.NewNative(), constantvar.New(before), policysource.WithInterval(-1))
	require.ErrorContains(t, err, "interval")
	_, err = policysource.Open(t.Context(), host.NewNative(), fileURL(good), policysource.WithSizeLimit(0))
	require.ErrorContains(t, err, "size limit")
	_, err = policysource.Open(t.Context(), nil, fileURL(good))
	require.ErrorContains(t, err, "policysource: the evaluator is nil")
	_, err = policysource.Watch(t.Context(), host.NewNative(), nil)
	require.ErrorContains(t, err, "policysource: the variable is nil")
}

func TestAnErrorNamesThePackageOfTheDriverThatIsMissing(t *testing.T) {
	for at, pkg := range map[string]string{
		"s3://bucket?region=eu-west-1#policies.json": "gocloud.dev/blob/s3blob",
		"gs://bucket":                           "gocloud.dev/blob/gcsblob",
		"etcd://policies?decoder=bytes&wait=1s": "gocloud.dev/runtimevar/etcdvar",
	} {
		_, err := policysource.Open(t.Context(), host.NewNative(), at)
		require.ErrorContains(t, err, `import _ "`+pkg+`"`)
	}
}

func TestAnErrorAsksForTheKeyOfTheObject(t *testing.T) {
	_, err := policysource.Open(t.Context(), host.NewNative(), "bucket:///policies")
	require.ErrorContains(t, err, "bucket:///policies names a bucket and no object; put its key behind #")
}

func TestErrorsShowNoPassword(t *testing.T) {
	for _, at := range []string{
		"http://user:s%65cret@127.0.0.1:1/policies.json",
		"http://user:s%65cret@127.0.0.1:1/%zz",
		"http://user:s%65cret/@127.0.0.1:1/policies.json",
		"http://user:s%65cret@127.0.0.1:1/policies.json?wait=x",
		"file://user:s%65cret@example.com/policies.json",
		"ftp://user:s%65cret@127.0.0.1/policies.json",
		"bucket://user:s%65cret@127.0.0.1/policies.json",
		"s3://user:s%65cret@127.0.0.1/policies.json",
	} {
		_, err := policysource.Open(t.Context(), host.NewNative(), at, policysource.WithLogger(slog.New(slog.DiscardHandler)))
		require.ErrorContains(t, err, "policysource: ")
		require.NotContains(t, err.Error(), "secret", at)
		require.NotContains(t, err.Error(), "s%65cret", at)
	}
}

func TestAVariableMustHoldBytes(t *testing.T) {
	s, err := policysource.Watch(t.Context(), host.NewNative(), constantvar.New(map[string]any{"Accounts": nil}), policysource.WithLogger(slog.New(slog.DiscardHandler)))
	require.ErrorContains(t, err, "map[string]interface {}")
	require.Nil(t, s)
}

func TestOpeningEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newSite(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, err := policysource.Open(ctx, host.NewNative(), s.URL)
	require.ErrorIs(t, err, context.Canceled)
}

func TestWatchingOutlivesTheContextThatItWasOpenedWith(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	w := open(t, func(e host.Evaluator, opts ...policysource.Option) (*policysource.Source, error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		return policysource.Open(ctx, e, fileURL(path), opts...)
	})
	replace(t, path, after)
	w.loaded(t)
}

func TestCloseLeavesNothingRunningAndTheRulesInForce(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	s := newSite(t, document(before))
	running := runtime.NumGoroutine()
	for _, at := range []string{fileURL(path), s.URL} {
		w := openURL(t, at)
		require.NoError(t, w.Close())
		require.NoError(t, w.Close(), "twice does no harm")
		replace(t, path, after)
		s.now(document(after))
		require.Equal(t, before, inForce(t, w.evaluator))
		require.Empty(t, w.changes)
		replace(t, path, before)
		s.now(document(before))
		_, err := policysource.Open(t.Context(), host.NewNative(), at+"x", policysource.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil { // a failed Open leaves nothing, either
			require.ErrorContains(t, err, "policysource")
		}
	}
	s.CloseClientConnections()
	for deadline := time.Now().Add(wait); runtime.NumGoroutine() > running; runtime.Gosched() {
		require.True(t, time.Now().Before(deadline), "something still runs")
	}
}

func TestNoRequestMeetsAnythingButTheOldOrTheNewRules(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	w := openURL(t, fileURL(path))
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				d, err := w.evaluator.Evaluate(context.Background(), abi.Request{AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("203.0.113.1")})
				if err != nil || d.Reason != abi.ReasonMatched && d.Reason != abi.ReasonSourceIPNotListed {
					t.Errorf("%v, %v", d, err)
					return
				}
			}
		})
	}
	for i := range 50 {
		replace(t, path, []string{after, bad, before}[i%3])
		w.next(t)
	}
	close(stop)
	all.Wait()
}

func TestChangesAreCountedByOutcome(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "policies.json"), before)
	reader := sdk.NewManualReader()
	w := openURL(t, fileURL(path), policysource.WithMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader))))
	replace(t, path, bad)
	w.refused(t, policysource.Refused)
	require.NoError(t, os.Remove(path))
	w.refused(t, policysource.Unavailable)
	replace(t, path, after)
	w.loaded(t)

	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	require.Len(t, all.ScopeMetrics, 1)
	require.Len(t, all.ScopeMetrics[0].Metrics, 1)
	require.Equal(t, "keymoat.policy_source.changes", all.ScopeMetrics[0].Metrics[0].Name)
	counts := map[string]int64{}
	for _, p := range all.ScopeMetrics[0].Metrics[0].Data.(metricdata.Sum[int64]).DataPoints {
		outcome, _ := p.Attributes.Value("keymoat.outcome")
		counts[outcome.AsString()] = p.Value
	}
	require.Equal(t, map[string]int64{"Loaded": 2, "Refused": 1, "Unavailable": 1}, counts)
}
