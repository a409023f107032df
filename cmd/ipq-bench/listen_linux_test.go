package main

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the queue counts can be had from outside of the private namespace, while it
// counts.
func TestListen(t *testing.T) {
	t.Parallel()
	cmd := command("-listen", "127.0.0.1:0", "-duration", "1h", "-rounds", "1", "-modes", "inline")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url := ""
	for lines := bufio.NewScanner(stdout); url == "" && lines.Scan(); {
		url, _ = strings.CutPrefix(lines.Text(), "metrics   ")
		if !strings.HasPrefix(url, "http://127.0.0.1:") {
			url = ""
		}
	}
	if url == "" {
		err := cmd.Wait()
		skipWithoutNamespaces(t, stderr.String())
		t.Fatalf("it does not say where: %v: %s", err, stderr.String())
	}
	go io.Copy(io.Discard, stdout)

	text := ""
	counted := func() bool {
		response, err := http.Get(url)
		if err != nil {
			t.Error(err)
			return true
		}
		defer response.Body.Close()
		all, err := io.ReadAll(response.Body)
		text = string(all)
		return err != nil || response.StatusCode != http.StatusOK || regexp.MustCompile(`(?m)^ipq_verdicts_total\{queue="0",verdict="accept"\} [1-9]`).MatchString(text)
	}
	for end := time.Now().Add(time.Minute); !counted() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGINT) || stderr.Len() > 0 {
		t.Errorf("exit status %d: %s", code, stderr.String())
	}
	for _, want := range []string{
		`(?m)^ipq_verdicts_total\{queue="0",verdict="accept"\} [1-9]`,
		`(?m)^ipq_info\{mode="inline",queue="0",version="[^"]+"\} 1$`,
		`(?m)^ipq_handler_duration_seconds_count\{queue="0"\} [1-9]`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// An address that cannot be had ends the program before anything else.
func TestListenNowhere(t *testing.T) {
	t.Parallel()
	cmd := command("-listen", "127.0.0.1:port")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	if cmd.ProcessState.ExitCode() != exitUsage || stdout.Len() > 0 || !strings.HasPrefix(stderr.String(), "ipq-bench: -listen: ") {
		t.Errorf("%v: %s\n%s", cmd.ProcessState, stderr.String(), stdout.String())
	}
}
