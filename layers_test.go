package goipq_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers are the files of package ipq, from what knows nothing of the others to what
// knows them all: a packet's way, seen from below.
var layers = []string{
	"verdict", "config", "errors", "config_check", "stats_counters", "stats_histogram", "socket", "engine",
	"packet_flow", "packet", "packet_edit", "packet_conntrack",
	"verdict_runs", "verdict_reject", "verdict_writer", "verdict_refused",
	"call_handler", "call", "defer", "packet_defer",
	"receive_control", "receive",
	"dispatch_inline", "dispatch_flow", "call_watchdog", "dispatch_pool",
	"queue", "stats", "queue_handover", "conn", "conn_verdict",
	"probe",
}

// apart are files without a place.
var apart = []string{"doc"}

// noImporter leaves out what other packages declare.
type noImporter struct{}

func (noImporter) Import(string) (*types.Package, error) { return nil, errors.New("not looked at") }

// A file of the engine names what is below it, and seldom what is above.
func TestReferencesRunDownward(t *testing.T) {
	const most = 25 // of some 220
	names, err := filepath.Glob("ipq/*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".go")
		if strings.HasSuffix(base, "_test") || slices.Contains(apart, base) {
			continue
		}
		if !slices.Contains(layers, base) {
			t.Errorf("%s has no place among the layers", name)
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: noImporter{}, Error: func(error) {}} // of what is imported
	pkg, _ := conf.Check("ipq", fset, files, info)
	layer := func(p token.Pos) int {
		base, _ := strings.CutSuffix(path.Base(fset.Position(p).Filename), ".go")
		return slices.Index(layers, base)
	}
	references := map[[2]int][]string{}
	for id, object := range info.Uses {
		if object.Pkg() != pkg || !object.Pos().IsValid() {
			continue
		}
		v, isVar := object.(*types.Var)
		_, isFunc := object.(*types.Func)
		if object.Parent() != pkg.Scope() && !isFunc && (!isVar || !v.IsField()) {
			continue // it is local
		}
		if from, to := layer(id.Pos()), layer(object.Pos()); from != to {
			references[[2]int{from, to}] = append(references[[2]int{from, to}], object.Name())
		}
	}
	var upward []string
	for r, what := range references {
		if r[0] < r[1] {
			slices.Sort(what)
			upward = append(upward, layers[r[0]]+" names "+strings.Join(slices.Compact(what), ", ")+" of "+layers[r[1]])
		}
	}
	slices.Sort(upward)
	t.Logf("%d references between files, %d upward:\n%s", len(references), len(upward), strings.Join(upward, "\n"))
	if len(upward) > most || len(references) < 150 {
		t.Errorf("%d of %d references between files of ipq run upward, more than %d", len(upward), len(references), most)
	}
}
