package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// record is one operation of a history: what was asked and answered, and when by the one monotonic clock.
type record struct {
	In           operation
	Out          outcome
	Client       int   // the thread
	Call, Return int64 // nanoseconds since the run began; Return is math.MaxInt64 if no answer came
	Node         int
	Seq          int64 // of the revocation event that was answered
	Count        *int  // devices that a sign-out said were in
}

func operations(records []record) []porcupine.Operation {
	ops := make([]porcupine.Operation, len(records))
	for i, r := range records {
		ops[i] = porcupine.Operation{
			ClientId: r.Client, Input: r.In, Call: r.Call, Output: r.Out, Return: r.Return,
			Metadata: fmt.Sprintf("node %d", r.Node),
		}
	}
	return ops
}

// checkTimeout bounds the search for one world; what it does not finish is Unknown, which is not Ok.
const checkTimeout = 20 * time.Second

func checkRecords(sp specification, records []record) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(sp.model(), operations(records), checkTimeout)
}

// verdictOfRun is what the checker found.
type verdictOfRun struct {
	Worlds, Operations, Lost int
	Ok, Illegal, Unknown     int
	Kinds                    map[string]int // operations by action and verdict, to see that the run exercised something
	Local                    map[string]int // local verifications that were checked, by language
	Shortest                 []record       // of an illegal world, shrunk
	Whole                    []record       // the same world before
	Broken                   []string       // what the checks beside porcupine found
	Untold                   int            // of these, what a receiver was not told, or too early
	spec                     specification
}

func (v *verdictOfRun) failed() bool { return v.Illegal > 0 || v.Unknown > 0 || len(v.Broken) > 0 }

// checkWorlds checks every world for itself: operations of different worlds touch different rows, and what touches
// everyone is an operation of each world that was alive at the time.
func checkWorlds(sp specification, worlds [][]record, parallel int) *verdictOfRun {
	v := &verdictOfRun{Worlds: len(worlds), Kinds: map[string]int{}, Local: map[string]int{}, spec: sp}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var illegal [][]record
	next := make(chan []record)
	for range parallel {
		wg.Go(func() {
			for records := range next {
				result, _ := porcupine.CheckOperationsVerbose(sp.model(), operations(records), checkTimeout)
				mu.Lock()
				switch result {
				case porcupine.Ok:
					v.Ok++
				case porcupine.Illegal:
					v.Illegal++
					illegal = append(illegal, records)
				default:
					v.Unknown++
				}
				mu.Unlock()
			}
		})
	}
	for _, records := range worlds {
		v.Operations += len(records)
		for _, r := range records {
			if r.Out.Verdict == lost {
				v.Lost++
			}
			v.Kinds[string(r.In.Action)+map[verdict]string{refused: " refused", done: " done", lost: " lost"}[r.Out.Verdict]]++
		}
		next <- records
	}
	close(next)
	wg.Wait()
	slices.SortFunc(illegal, func(a, b []record) int { return len(a) - len(b) })
	for _, records := range illegal[:min(len(illegal), 20)] {
		if small := shrink(sp, records); v.Shortest == nil || len(small) < len(v.Shortest) {
			v.Shortest, v.Whole = small, records
		}
	}
	return v
}

// shrink makes an illegal history short. Each step keeps a history that a right server could have produced if and only
// if it could have produced the one before, so what is left is still a fault of the server's:
//   - a prefix, with the operations that had not returned left open: linearizability is closed under prefixes;
//   - without one device: the operations on the others, and nothing that counts devices;
//   - without operations that change nothing, whatever they answered: checks and lists.
func shrink(sp specification, records []record) []record {
	illegal := func(h []record) bool { return checkRecords(sp, h) == porcupine.Illegal }
	best := slices.Clone(records)
	if h := shortestPrefix(best, illegal); h != nil {
		best = h
	}
	for slot := range slots {
		if h := withoutSlot(best, slot); illegal(h) {
			best = h
			break
		}
	}
	for i := len(best) - 1; i >= 0; i-- {
		if a := best[i].In.Action; a != actCheck && a != actList && a != actCount && a != actPage &&
			!(best[i].Out.Verdict == refused && a == actSignIn) {
			continue
		}
		if h := slices.Delete(slices.Clone(best), i, i+1); illegal(h) {
			best = h
		}
	}
	if h := fromSignIn(best, illegal); h != nil {
		best = h
	}
	// With what is still open the history is illegal, so it is without: whether it happened explains nothing.
	return slices.DeleteFunc(best, func(r record) bool { return r.Return == math.MaxInt64 })
}

// shortestPrefix cuts behind one return after the other, until the history is illegal.
func shortestPrefix(records []record, illegal func([]record) bool) []record {
	var ends []int64
	for _, r := range records {
		if r.Return != math.MaxInt64 {
			ends = append(ends, r.Return)
		}
	}
	slices.Sort(ends)
	i, _ := slices.BinarySearchFunc(ends, true, func(end int64, _ bool) int {
		if illegal(prefix(records, end)) {
			return 0
		}
		return -1
	})
	if i == len(ends) {
		return nil
	}
	return prefix(records, ends[i])
}

func prefix(records []record, end int64) []record {
	var h []record
	for _, r := range records {
		if r.Call > end {
			continue
		}
		if r.Return > end {
			if a := r.In.Action; a == actCheck || a == actList || a == actCount || a == actPage {
				continue
			}
			r.Return, r.Out = math.MaxInt64, outcome{Verdict: lost}
		}
		h = append(h, r)
	}
	return h
}

// withoutSlot leaves out a device, with the codes that were presented for it. Whether the browser session goes with the
// others hangs on the device that stays: of such a history nothing is left out.
func withoutSlot(records []record, slot int) []record {
	var h []record
	var codes []int8
	keeps := false
	for _, r := range records {
		if r.In.Action == actExchange && r.In.Slot == slot {
			codes = append(codes, r.In.Code)
		}
		keeps = keeps || r.In.Slot == slot && (r.In.Action == actSignOutRest || r.In.Action == actPassword)
	}
	if keeps && len(codes) > 0 {
		return nil
	}
	for _, r := range records {
		switch r.In.Action {
		case actSignIn, actRefresh, actCheck, actRename, actSignOut, actRevokeToken:
			if r.In.Slot == slot {
				continue
			}
		case actList, actCount:
			continue
		case actExchange:
			if slices.Contains(codes, r.In.Code) {
				continue
			}
		}
		h = append(h, r)
	}
	return h
}

// fromSignIn begins at a later sign-in, where nothing else was under way: it makes the same state of its device,
// whatever was before, if the password and the name of that moment are taken as the first ones.
func fromSignIn(records []record, illegal func([]record) bool) []record {
	var best []record
	for i, start := range records {
		if start.In.Action != actSignIn || start.Out.Verdict != done {
			continue
		}
		quiet := !slices.ContainsFunc(records, func(r record) bool {
			return r.Call <= start.Return &&
				r.Return >= start.Call && r != start
		})
		if i == 0 || !quiet {
			continue
		}
		known := []int32{start.Out.RefreshID}
		var h []record
		for _, r := range records {
			if r.Call < start.Call {
				continue
			}
			r.In = rebased(r.In, start.In.Password)
			if r.In.Action == actExchange && r.In.Slot == start.In.Slot { // the browser session matters
				h = nil
				break
			}
			nothing := []action{actRename, actList, actCount}
			other := r.In.Slot != start.In.Slot && !slices.Contains(wide, r.In.Action)
			if inBrowser(r.In.Action) || slices.Contains(nothing, r.In.Action) || other {
				continue
			}
			if r.In.RefreshID != noRefreshID && !slices.Contains(known, r.In.RefreshID) {
				if r.In.Action == actCheck {
					continue
				}
				h = nil // an older token matters: this start will not do
				break
			}
			if r.Out.RefreshID > 0 {
				known = append(known, r.Out.RefreshID)
			}
			h = append(h, r)
		}
		if len(h) > 0 && (best == nil || len(h) < len(best)) && illegal(h) {
			best = h
		}
	}
	return best
}

// wide are the actions that touch every device.
var wide = []action{
	actSetPassword, actDisable, actEnable, actSignOutAll, actSignOutApp, actSignOutUser, actPassword, actSignOutRest,
}

func inBrowser(a action) bool {
	return slices.Contains([]action{actBrowser, actPage, actCode, actExchange, actEndSession}, a)
}

func rebased(in operation, password int8) operation {
	switch in.Action {
	case actSignIn, actPassword, actSetPassword:
		in.Password -= password
		in.Next -= password
	}
	return in
}

// text is a history as a person reads it: one line an operation, in the order of the calls.
func text(records []record) string {
	var b strings.Builder
	sorted := slices.Clone(records)
	slices.SortStableFunc(sorted, func(a, b record) int { return cmp.Compare(a.Call, b.Call) })
	var zero int64
	if len(sorted) > 0 {
		zero = sorted[0].Call
	}
	for _, r := range sorted {
		end := "          "
		if r.Return != math.MaxInt64 {
			end = fmt.Sprintf("%8.2fms", float64(r.Return-zero)/1e6)
		}
		fmt.Fprintf(&b, "  %8.2fms to %s  thread %d node %d: %s\n", float64(r.Call-zero)/1e6, end, r.Client, r.Node,
			describe(r.In, r.Out))
	}
	return b.String()
}

// visualise writes porcupine's page for a history.
func visualise(sp specification, records []record, path string) error {
	_, info := porcupine.CheckOperationsVerbose(sp.model(), operations(records), checkTimeout)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return porcupine.Visualize(sp.model(), info, f)
}

// report is the summary of a run.
func (v *verdictOfRun) report(title string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d operations in %d worlds, %d without an answer; partitions Ok %d, Illegal %d, Unknown %d; "+
		"local verifications checked: Go %d, Node %d, Python %d\n",
		title, v.Operations, v.Worlds, v.Lost, v.Ok, v.Illegal, v.Unknown,
		v.Local["Go"], v.Local["Node"], v.Local["Python"])
	var kinds []string
	for k := range v.Kinds {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	for i, k := range kinds {
		fmt.Fprintf(&b, "%s%s %d", map[bool]string{true: "  ", false: ", "}[i == 0], k, v.Kinds[k])
	}
	b.WriteString("\n")
	for _, problem := range v.Broken[:min(len(v.Broken), 10)] {
		fmt.Fprintf(&b, "  BROKEN: %s\n", problem)
	}
	if len(v.Broken) > 10 {
		fmt.Fprintf(&b, "  and %d more\n", len(v.Broken)-10)
	}
	if v.Illegal > 0 {
		fmt.Fprintf(&b, "  the shortest illegal history, of a world with %d operations:\n%s", len(v.Whole), text(v.Shortest))
	}
	return b.String()
}
