package rules

import "log/slog"

// A Config says where rules go, and who is told. The zero value is useful.
type Config struct {
	// NetNS is a descriptor of the network namespace to work in, such as that of an
	// open /proc/PID/ns/net; 0 means that of the thread which calls Install.
	// [Config.Install] duplicates it; somebody must keep the file open until then,
	// see runtime.KeepAlive.
	NetNS int
	// Logger is told what [Ruleset.Watch] has put back, which chains packets are
	// queued twice for, and what the kernel lacks; nil means nobody.
	Logger *slog.Logger
}
