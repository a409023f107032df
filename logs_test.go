package goipq_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A logLine is a message that the library logs.
type logLine struct {
	level string
	keys  []string // in order
	file  string
}

// The page for operators has each message that the library logs, at its level and with
// its keys, and no other.
func TestLogsAreDocumented(t *testing.T) {
	logged := map[string]logLine{}
	for name, source := range goFiles(t) {
		library := slices.ContainsFunc([]string{"ipq/", "worker/", "ring/", "internal/nfsock/", "internal/netns/", "internal/machine/", "internal/probe/"},
			func(folder string) bool { return strings.HasPrefix(name, folder) })
		if library && !strings.HasSuffix(name, "_test.go") {
			findLogs(t, name, source, logged)
		}
	}
	if len(logged) < 5 {
		t.Fatalf("the library logs %d messages", len(logged))
	}
	const page = "docs/operate.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| (error|warn|info|debug) \\| `([^`]*)` \\| ([^|]*) \\|")
	key := regexp.MustCompile("`([^`]*)`")
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		var keys []string
		for _, k := range key.FindAllStringSubmatch(m[3], -1) {
			keys = append(keys, k[1])
		}
		l, ok := logged[m[2]]
		delete(logged, m[2])
		switch {
		case !ok:
			t.Errorf("%s has %q, which nothing logs", page, m[2])
		case l.level != m[1] || !slices.Equal(l.keys, keys):
			t.Errorf("%s has %q as %s with %q; %s logs it as %s with %q", page, m[2], m[1], keys, l.file, l.level, l.keys)
		}
	}
	for message, l := range logged {
		t.Errorf("%s does not have %q, which %s logs", page, message, l.file)
	}
}

// findLogs adds the messages that are logged in a file.
func findLogs(t *testing.T, name string, source []byte, logged map[string]logLine) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !isLogger(method.X) || len(call.Args) == 0 {
				return true
			}
			message, ok := literal(call.Args[0])
			if !ok {
				t.Errorf("%s: %s logs what is no constant", path.Base(name), f.Name.Name)
				return true
			}
			l := logLine{level: strings.ToLower(method.Sel.Name), file: name}
			if call.Ellipsis.IsValid() {
				l.keys = listed(f.Body)
			} else {
				l.keys = keysOf(call.Args[1:])
			}
			logged[message] = l
			return true
		})
	}
}

// isLogger reports whether an expression is one of a slog.Logger: by its name.
func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.SelectorExpr:
		return x.Sel.Name == "Logger" || x.Sel.Name == "log"
	case *ast.Ident:
		return x.Name == "log"
	}
	return false
}

// literal returns the value of a string, or of a sum of strings.
func literal(x ast.Expr) (string, bool) {
	switch x := x.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(x.Value)
		return s, err == nil
	case *ast.BinaryExpr:
		a, ok := literal(x.X)
		b, okToo := literal(x.Y)
		return a + b, ok && okToo
	}
	return "", false
}

// keysOf returns the keys in a list of keys and values.
func keysOf(list []ast.Expr) (keys []string) {
	for i := 0; i < len(list); i += 2 {
		if s, ok := literal(list[i]); ok {
			keys = append(keys, s)
		}
	}
	return keys
}

// listed returns the keys of lists that a function makes before it logs them.
func listed(body ast.Node) (keys []string) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			keys = append(keys, keysOf(n.Elts)...)
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "append" {
				keys = append(keys, keysOf(n.Args[1:])...)
			}
		}
		return true
	})
	return keys
}
