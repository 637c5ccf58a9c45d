package host

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// Two sets that no request is answered alike by: the wide and the narrow entry,
// and listed and not listed.
var alternating = [2]string{
	`{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.0/24"]}]}`,
	`{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.1","198.51.100.1"]}]}`,
}

var (
	alternatingRequests = []abi.Request{
		{AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("203.0.113.1")},
		{AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("203.0.113.2")},
		{AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("198.51.100.1")},
	}
	alternatingAnswers = [2][]abi.Decision{
		{matchedEntry("203.0.113.0/24"), matchedEntry("203.0.113.0/24"), notListed},
		{matchedEntry("203.0.113.1/32"), notListed, matchedEntry("198.51.100.1/32")},
	}
	notListed = abi.Decision{Effect: abi.EffectDeny, Reason: abi.ReasonSourceIPNotListed, Level: abi.LevelAccount}
)

func matchedEntry(entry string) abi.Decision {
	return abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonMatched, Level: abi.LevelAccount, Entry: netip.MustParsePrefix(entry)}
}

func TestAfterALoadReturnsNoCallSeesTheOldRules(t *testing.T) {
	t.Run("Engine", func(t *testing.T) { testLoadsUnderLoad(t, newEngine(t)) })
	t.Run("Native", func(t *testing.T) { testLoadsUnderLoad(t, NewNative()) })
}

// testLoadsUnderLoad counts loads. A caller reads the number of those that have
// returned before its call, and the number of those that have begun after it.
// If they are equal, the rules were in force all the time, and any answer but
// theirs is wrong; otherwise the answer of either set is right. A call on an
// instance that was closed would not go unnoticed: its memory is unmapped.
func testLoadsUnderLoad(t *testing.T, e Evaluator) {
	const loads, callers = 1000, 64
	ctx := context.Background()
	var sets [2][]byte
	var revisions [2]string
	for i, document := range alternating {
		sets[i] = imageOf(t, document)
		revision, err := e.Load(ctx, sets[i])
		require.NoError(t, err)
		revisions[i] = string(revision)
	}
	sets[0] = []byte(alternating[0]) // one as JSON, one as an image

	var begun, returned atomic.Int64 // load n is of set n%2; load 1 was the last above
	begun.Store(1)
	returned.Store(1)
	// certain is sent to by a caller whose answer could be told to be of the
	// rules in force, each time someone waits for that.
	certain := make(chan struct{})
	stop := make(chan struct{})
	batch := make([]abi.Request, batchSize+100) // crosses into the sandbox twice
	for i := range batch {
		batch[i] = alternatingRequests[i%len(alternatingRequests)]
	}
	// within reports whether of is a set that was in force between the two counts.
	within := func(before, after int64, of int) bool { return after > before || int(before%2) == of }

	call := [...]func(n int) error{
		func(n int) error {
			n %= len(alternatingRequests)
			before := returned.Load()
			d, err := e.Evaluate(ctx, alternatingRequests[n])
			after := begun.Load()
			for set := range sets {
				if err == nil && d == alternatingAnswers[set][n] && within(before, after, set) {
					return nil
				}
			}
			return fmt.Errorf("request %d got %+v, %v between the loads %d and %d", n, d, err, before, after)
		},
		func(n int) error {
			out := make([]abi.Decision, len(batch))
			before := returned.Load()
			err := e.EvaluateBatch(ctx, batch, out)
			after := begun.Load()
			if err != nil {
				return err
			}
			of := 0
			if out[0] != alternatingAnswers[0][0] {
				of = 1
			}
			for i, d := range out {
				if d != alternatingAnswers[of][i%len(alternatingRequests)] {
					return fmt.Errorf("a batch mixes the answers of two sets, or has another's: %+v at %d", d, i)
				}
			}
			if !within(before, after, of) {
				return fmt.Errorf("a batch was judged by set %d between the loads %d and %d", of, before, after)
			}
			return nil
		},
		func(n int) error {
			n %= len(alternatingRequests)
			before := returned.Load()
			trace, err := e.Explain(ctx, alternatingRequests[n])
			after := begun.Load()
			for set := range sets {
				if err == nil && trace.Revision == revisions[set] && trace.Decision == alternatingAnswers[set][n] && within(before, after, set) {
					return nil
				}
			}
			return fmt.Errorf("a trace has the decision %+v of %s, %v between the loads %d and %d", trace.Decision, trace.Revision, err, before, after)
		},
		func(n int) error {
			n %= len(alternatingRequests)
			before := returned.Load()
			d, err := e.Authorize(ctx, abi.HTTPRequest{SourceIP: alternatingRequests[n].SourceIP,
				Target: "/?AccessKeyId=" + alternatingRequests[n].AccessKeyID})
			after := begun.Load()
			for set := range sets {
				if err == nil && d == alternatingAnswers[set][n] && within(before, after, set) {
					return nil
				}
			}
			return fmt.Errorf("an HTTP request got %+v, %v between the loads %d and %d", d, err, before, after)
		},
	}
	// Of every 64 calls one is of each of the other kinds.
	kind := func(n int) int {
		if n %= 64; n < len(call) {
			return n
		}
		return 0
	}

	var all sync.WaitGroup
	failed, fail := context.WithCancelCause(context.Background())
	defer fail(nil)
	for caller := range callers {
		all.Go(func() {
			for n := caller; ; n++ {
				runtime.Gosched() // 64 callers that take their whole turns would leave the loads none
				before := returned.Load()
				if err := call[kind(n)](n); err != nil {
					fail(err)
					return
				}
				if begun.Load() != before {
					select {
					case <-stop:
						return
					default:
						continue
					}
				}
				select {
				case certain <- struct{}{}:
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for load := int64(2); load <= loads+1; load++ {
		begun.Store(load)
		revision, err := e.Load(ctx, sets[load%2])
		returned.Store(load)
		require.NoError(t, err)
		require.Equal(t, revisions[load%2], string(revision))
		select {
		case <-certain: // a call from beginning to end between two loads
		case <-failed.Done():
			load = loads + 1
		}
	}
	close(stop)
	all.Wait()
	require.NoError(t, context.Cause(failed))
}

// In the tests below synctest.Wait tells when every other goroutine waits for
// good, so that none needs to sleep; a test in which a goroutine is left over
// at the end panics.

func TestCloseWaitsForTheCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		e := loadedEngine(t, WithInstances(2))
		p, seat, err := e.serving.Take(ctx)
		require.NoError(t, err)

		var closed, loaded atomic.Bool
		go func() {
			if e.Close(ctx) == nil {
				closed.Store(true)
			}
		}()
		synctest.Wait()
		go func() {
			_, err := e.Load(ctx, []byte(onlyAddress))
			loaded.Store(err == nil)
		}()
		require.False(t, closed.Load())
		_, err = e.Evaluate(ctx, request("LTAI5tExample0000000001"))
		require.ErrorIs(t, err, ErrClosed, "no new call is taken")

		r := request("LTAI5tExample0000000001")
		word, err := p.Instances[seat].evaluateWord(ctx, &r)
		require.NoError(t, err, "the call under way has its instance")
		require.Equal(t, abi.ReasonMatched, word.Reason())
		e.give(ctx, p, seat, nil)
		synctest.Wait()
		require.True(t, closed.Load())
		require.False(t, loaded.Load())
	})
}

func TestALoadWaitsForTheCallsThatUseTheOldRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		e := loadedEngine(t, WithInstances(2))
		p, seat, err := e.serving.Take(ctx)
		require.NoError(t, err)
		var returned atomic.Bool
		go func() {
			_, err := e.Load(ctx, []byte(alternating[0]))
			returned.Store(err == nil)
		}()
		synctest.Wait()
		require.False(t, returned.Load())
		d, err := e.Evaluate(ctx, request("LTAI5tExample0000000001"))
		require.NoError(t, err)
		require.Equal(t, matchedEntry("203.0.113.0/24"), d, "a new call has the new rules by now")
		e.give(ctx, p, seat, nil)
		synctest.Wait()
		require.True(t, returned.Load())
	})
}

func TestACallerWaitsForAnInstanceUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		e := loadedEngine(t, WithInstances(1))
		p, seat, err := e.serving.Take(ctx)
		require.NoError(t, err)

		impatient, cancel := context.WithCancel(ctx)
		r := request("LTAI5tExample0000000001")
		calls := map[string]func(context.Context) (any, error){
			"Evaluate": func(ctx context.Context) (any, error) { return e.Evaluate(ctx, r) },
			"EvaluateBatch": func(ctx context.Context) (any, error) {
				out := []abi.Decision{matched}
				err := e.EvaluateBatch(ctx, []abi.Request{r}, out)
				return out[0], err
			},
			"Explain": func(ctx context.Context) (any, error) {
				trace, err := e.Explain(ctx, r)
				return trace.Decision, err
			},
			"Authorize": func(ctx context.Context) (any, error) {
				return e.Authorize(ctx, abi.HTTPRequest{Target: "/?AccessKeyId=" + r.AccessKeyID, SourceIP: r.SourceIP})
			},
		}
		type outcome struct {
			call   string
			answer any
			err    error
		}
		var gaveUp, served = make(chan outcome, len(calls)), make(chan outcome, len(calls))
		for name, call := range calls {
			go func() { answer, err := call(impatient); gaveUp <- outcome{name, answer, err} }()
			go func() { answer, err := call(ctx); served <- outcome{name, answer, err} }()
		}
		synctest.Wait()
		require.Empty(t, gaveUp)
		require.Empty(t, served)

		cancel()
		synctest.Wait()
		require.Len(t, gaveUp, len(calls))
		require.Empty(t, served)
		for range calls {
			o := <-gaveUp
			require.ErrorIs(t, o.err, context.Canceled, o.call)
			require.Zero(t, o.answer, o.call)
		}

		e.give(ctx, p, seat, nil)
		synctest.Wait()
		require.Len(t, served, len(calls))
		for range calls {
			o := <-served
			require.NoError(t, o.err, o.call)
			require.Equal(t, matched, o.answer, o.call)
		}
	})
}

func TestCallersThatWaitWhileRulesAreLoadedGetTheNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		e := loadedEngine(t, WithInstances(1))
		p, seat, err := e.serving.Take(ctx)
		require.NoError(t, err)
		answers := make(chan abi.Decision, 10)
		for range cap(answers) {
			go func() {
				d, _ := e.Evaluate(ctx, request("LTAI5tExample0000000001"))
				answers <- d
			}()
		}
		synctest.Wait()
		require.Empty(t, answers)
		loaded := make(chan error, 1)
		go func() { _, err := e.Load(ctx, []byte(alternating[0])); loaded <- err }()
		synctest.Wait()
		require.Len(t, answers, cap(answers), "they need not wait for the call under way")
		require.Empty(t, loaded)
		for range cap(answers) {
			require.Equal(t, matchedEntry("203.0.113.0/24"), <-answers)
		}
		e.give(ctx, p, seat, nil)
		require.NoError(t, <-loaded)
	})
}

func TestCallersThatWaitWhenTheEngineIsClosedAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		e := loadedEngine(t, WithInstances(1))
		p, seat, err := e.serving.Take(ctx)
		require.NoError(t, err)
		errs := make(chan error, 10)
		for range cap(errs) {
			go func() { _, err := e.Evaluate(ctx, request("LTAI5tExample0000000001")); errs <- err }()
		}
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- e.Close(ctx) }()
		synctest.Wait()
		require.Len(t, errs, cap(errs))
		for range cap(errs) {
			require.ErrorIs(t, <-errs, ErrClosed)
		}
		require.Empty(t, closed)
		e.give(ctx, p, seat, nil)
		require.NoError(t, <-closed)
	})
}

func TestOneInstanceServesManyCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := loadedEngine(t, WithInstances(1))
		p := hundred()
		_, err := e.Load(context.Background(), p.image)
		require.NoError(t, err)
		const callers, calls = 64, 300
		var all sync.WaitGroup
		var failure onceError
		for caller := range callers {
			all.Go(func() {
				for n := range calls {
					n = (n*callers + caller) % len(p.requests)
					d, err := e.Evaluate(context.Background(), p.requests[n])
					if err != nil || d != p.answers[n] {
						failure.set(fmt.Errorf("request %d: %+v, %v", n, d, err))
						return
					}
				}
			})
		}
		all.Wait()
		require.NoError(t, failure.err)
	})
}

func TestCloseWhileOthersCall(t *testing.T) {
	for name, open := range evaluators {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				for range 10 {
					e := open(t)
					_, err := e.Load(ctx, []byte(onlyAddress))
					require.NoError(t, err)
					const callers = 16
					under := make(chan struct{}, callers)
					var all sync.WaitGroup
					var failure onceError
					for range callers {
						all.Go(func() {
							for n := 0; ; n++ {
								runtime.Gosched()
								d, err := e.Evaluate(ctx, request("LTAI5tExample0000000001"))
								switch {
								case err == ErrClosed && d == (abi.Decision{}):
									return
								case err != nil || d != matched:
									failure.set(fmt.Errorf("call %d: %+v, %w", n, d, err))
									return
								case n == 0:
									under <- struct{}{}
								}
							}
						})
					}
					for range callers {
						<-under
					}
					all.Go(func() { _, _ = e.Load(ctx, []byte(onlyAddress)) })
					all.Go(func() { _, _ = e.Validate(ctx, []byte(onlyAddress)) })
					for range 2 { // at the same time, and once more
						all.Go(func() {
							if err := e.Close(ctx); err != nil {
								failure.set(err)
							}
						})
					}
					all.Wait()
					require.NoError(t, failure.err)
					_, err = e.Load(ctx, []byte(onlyAddress))
					require.ErrorIs(t, err, ErrClosed)
					_, err = e.Evaluate(ctx, request("LTAI5tExample0000000001"))
					require.ErrorIs(t, err, ErrClosed)
				}
			})
		})
	}
}

func loadedEngine(t testing.TB, opts ...Option) *Engine {
	t.Helper()
	e := newEngine(t, opts...)
	_, err := e.Load(context.Background(), []byte(onlyAddress))
	require.NoError(t, err)
	return e
}
