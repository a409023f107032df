// Package goipq_test keeps the rules of the house: what may import what, where
// unsafe may stand, how long a file may be.
package goipq_test

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/goipq/goipq"

// mayImport says what the files of a folder, and of those below it that have no
// line of their own, may import beside the standard library and themselves:
// folders of this module and other modules, each with all below it. Tests, and
// folders without any line, are free.
var mayImport = map[string][]string{
	"ipq": {
		"worker", "ring", "internal/zerocopy", "internal/nfsock", "internal/netns", "internal/machine", "internal/probe", "internal/race", "internal/seam",
	},
	"ipq/ipqtest":   {"ipq", "internal/fakekernel", "internal/nfsock", "internal/seam", "internal/zerocopy", "github.com/gopacket/gopacket"},
	"internal/seam": {"ring", "internal/nfsock"},
	"ipq/ipqprom":   {"ipq", "internal/metrics", "github.com/prometheus/client_golang"},
	"ipq/bypass": {
		"ipq", "internal/nftexpr", "internal/nftconn", "internal/nfttable", "internal/netns",
		"golang.org/x/sys", "github.com/cilium/ebpf", "github.com/google/nftables",
	},
	"ipq/rules": {
		"ipq", "internal/nftexpr", "internal/nftconn", "internal/nfttable", "internal/netns",
		"golang.org/x/sys", "github.com/google/nftables",
	},
	"ipq/stream":        {"ipq", "internal/zerocopy", "ring"},
	"worker":            {"github.com/panjf2000/ants/v2"},
	"compat/go-nfqueue": {"ipq", "github.com/mdlayher/netlink", "golang.org/x/sys", "golang.org/x/net/bpf"},
	"ring":              {"golang.org/x/sys"},
	"internal/zerocopy": {},
	"internal/netlab": {
		"internal/nftexpr", "internal/nftconn", "internal/nfttable",
		"golang.org/x/sys", "github.com/google/nftables", "github.com/mdlayher/netlink",
		"github.com/vishvananda/netlink", "github.com/vishvananda/netns",
	},
	"internal/flood":   {"golang.org/x/sys"},
	"internal/nfsock":  {"internal/zerocopy", "internal/netns", "golang.org/x/sys", "github.com/mdlayher/netlink", "github.com/mdlayher/socket"},
	"internal/netns":   {"golang.org/x/sys"},
	"internal/machine": {"golang.org/x/sys"},
	"internal/race":    {},
	"internal/probe": {
		"internal/nfsock", "internal/nftexpr", "internal/netns", "internal/zerocopy",
		"golang.org/x/sys", "github.com/google/nftables",
	},
	"internal/nftexpr":  {"golang.org/x/sys", "github.com/google/nftables"},
	"internal/metrics":  {"ipq"},
	"internal/nftconn":  {"internal/netns", "golang.org/x/sys", "github.com/google/nftables"},
	"internal/nfttable": {"internal/nftconn", "golang.org/x/sys", "github.com/google/nftables"},
	"internal/output":   {},
	"internal/peers":    {"github.com/aclements/go-moremath"},
	"internal/plot":     {},
	"compat/libipq":     {"ipq", "golang.org/x/sys"},
	"examples":          {"ipq", "worker", "ring", "golang.org/x/sys"},
	"examples/internal": {"internal/netlab"},

	// The parts of cmd/ipq-bench, the lower ones first.
	"internal/bench/plain": {"internal/output", "golang.org/x/term"},
	"internal/bench/report": {
		"internal/bench/plain", "internal/peers", "ipq",
		"github.com/HdrHistogram/hdrhistogram-go", "github.com/aclements/go-moremath",
	},
	"internal/bench/render":    {"internal/bench/plain", "internal/bench/report", "internal/peers", "internal/plot", "ipq"},
	"internal/bench/doctor":    {"internal/bench/plain", "internal/netlab", "internal/flood", "ipq"},
	"internal/bench/benchtest": {"internal/bench/plain", "internal/bench/report", "internal/peers"},
}

func TestImports(t *testing.T) {
	for name, source := range goFiles(t) {
		folder := path.Dir(name)
		for folder != "." && mayImport[folder] == nil {
			folder = path.Dir(folder)
		}
		if folder == "." || strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, imported := range imports(t, name, source) {
			imported = strings.TrimPrefix(imported, module+"/")
			allowed := func(root string) bool { return imported == root || strings.HasPrefix(imported, root+"/") }
			if !isStandard(imported) && !allowed(folder) && !slices.ContainsFunc(mayImport[folder], allowed) {
				t.Errorf("%s imports %s: %s may import only %q", name, imported, folder, mayImport[folder])
			}
		}
	}
}

// isStandard reports whether a path is the standard library's: the roots of
// other modules are host names, and this one's folders are in the tree.
func isStandard(imported string) bool {
	root, _, _ := strings.Cut(imported, "/")
	_, err := os.Stat(root)
	return err != nil && !strings.Contains(root, ".")
}

// What is unsafe stays in files that are named for it.
func TestUnsafe(t *testing.T) {
	for name, source := range goFiles(t) {
		if !strings.Contains(path.Base(name), "unsafe") && slices.Contains(imports(t, name, source), "unsafe") {
			t.Errorf("%s imports unsafe: that is for files with unsafe in their name", name)
		}
	}
}

// What the rest of the engine relies on is done in one place.
func TestOneHome(t *testing.T) {
	for call, home := range map[string]string{
		".HandlePacket(":           "ipq/call_handler.go", // which Close looks for on the stack
		"zerocopy.PutVerdictBatch": "ipq/verdict_runs.go", // who writes one must know that it is legal
		".Bypass.Bypass(":          "ipq/call_handler.go",
	} {
		for name, source := range goFiles(t) {
			n := bytes.Count(source, []byte(call))
			if path.Dir(name) == "ipq" && !strings.HasSuffix(name, "_test.go") && name != home && n > 0 {
				t.Errorf("%s has %s, whose place is %s", name, call, home)
			} else if name == home && n == 0 {
				t.Errorf("%s has no %s", name, call)
			}
		}
	}
}

// A file keeps one idea, and so stays short.
func TestFileSize(t *testing.T) {
	const most = 350
	for name, source := range goFiles(t) {
		if strings.HasSuffix(name, "_test.go") || bytes.HasPrefix(source, []byte("// Code generated ")) {
			continue
		}
		if n := bytes.Count(source, []byte("\n")); n > most {
			t.Errorf("%s has %d lines, more than %d", name, n, most)
		}
	}
}

// goFiles returns the sources of this repository, by their paths with slashes.
func goFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.Name() == ".git" && entry.IsDir(): // a file in a work tree of its own
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(name) != ".go":
			return nil
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files["ipq/doc.go"] == nil {
		t.Fatal("this is not the root of the sources")
	}
	return files
}

func imports(t *testing.T, name string, source []byte) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, spec := range file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}
