package abi_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

func TestEveryStatusHasACodeAndASentence(t *testing.T) {
	codes, sentences := map[string]bool{}, map[string]bool{}
	for n, s := range abi.Statuses() {
		require.Equal(t, n, int(s))
		require.NotContains(t, s.String(), "Status(")
		require.NotEmpty(t, s.Error())
		codes[s.String()], sentences[s.Error()] = true, true
	}
	require.Len(t, codes, len(abi.Statuses()))
	require.Len(t, sentences, len(abi.Statuses()))
	require.Equal(t, "Status(200)", abi.Status(200).String())
	require.Equal(t, "Status(200)", abi.Status(200).Error())
}

func TestAnErrorUnwrapsToItsStatus(t *testing.T) {
	err := fmt.Errorf("loading: %w", &abi.Error{Status: abi.StatusInvalidDocument, Message: "/Accounts: missing", Report: &abi.Report{}})
	require.ErrorIs(t, err, abi.StatusInvalidDocument)
	require.NotErrorIs(t, err, abi.StatusInvalidImage)
	var e *abi.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "/Accounts: missing", e.Text())
	require.Equal(t, "keymoat: /Accounts: missing", e.Error())
	var s abi.Status
	require.True(t, errors.As(err, &s))
	require.Equal(t, abi.StatusInvalidDocument, s)
}

func TestAnErrorWithoutAMessageSaysWhatItsStatusSays(t *testing.T) {
	e := &abi.Error{Status: abi.StatusNotLoaded}
	require.Equal(t, abi.StatusNotLoaded.Error(), e.Text())
	require.Equal(t, "keymoat: "+abi.StatusNotLoaded.Error(), e.Error())
}

func TestABatchErrorNamesTheFirstRequestAndCountsTheRest(t *testing.T) {
	e := &abi.BatchError{Items: []abi.BatchItem{{Index: 3, Status: abi.StatusInvalidSourceIP}}}
	require.EqualError(t, e, "keymoat: request 3 of the batch: "+abi.StatusInvalidSourceIP.Error())
	e.Items = append(e.Items, abi.BatchItem{Index: 4, Status: abi.StatusInvalidAccessKeyID}, abi.BatchItem{Index: 9, Status: abi.StatusInvalidRequest})
	require.EqualError(t, e, "keymoat: request 3 of the batch: "+abi.StatusInvalidSourceIP.Error()+" (and 2 more)")

	err := fmt.Errorf("judging: %w", e)
	require.ErrorIs(t, err, abi.StatusInvalidSourceIP)
	require.NotErrorIs(t, err, abi.StatusInvalidAccessKeyID)
	var batch *abi.BatchError
	require.ErrorAs(t, err, &batch)
	require.Len(t, batch.Items, 3)
}
