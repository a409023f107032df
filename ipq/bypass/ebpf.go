package bypass

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cilium/ebpf"
)

// objects are what the kernel holds for a Bypasser.
type objects struct {
	flows, lease *ebpf.Map
	*tally       // the first one, which is pinned
	tallies      tallies
}

// pinned lists the objects by the names that they are pinned under.
func (o *objects) pinned() map[string]interface{ Pin(string) error } {
	return map[string]interface{ Pin(string) error }{
		"flows": o.flows, "sums": o.sums, "lease": o.lease, "accept": o.accept, "drop": o.drop,
	}
}

// loadObjects loads the programs, and makes the maps or takes over those of
// Config.PinDir. The kernel is before Linux 5.11, or not.
func loadObjects(cfg Config, before511 bool) (*objects, error) {
	spec, err := loadKernel()
	if err != nil {
		return nil, err
	}
	if before511 {
		adapt(spec)
	}
	spec.Maps["flows"].MaxEntries = uint32(cfg.Size)
	old := map[string]*ebpf.Map{}
	defer func() {
		for _, m := range old {
			m.Close()
		}
	}()
	if cfg.PinDir != "" {
		if old, err = takeOver(cfg.PinDir, spec.Maps); err != nil {
			return nil, err
		}
	}
	var loaded kernelObjects
	err = spec.LoadAndAssign(&loaded, &ebpf.CollectionOptions{MapReplacements: old})
	switch {
	case err == nil:
	case errors.Is(err, ebpf.ErrMapIncompatible):
		return nil, fmt.Errorf("%w: %s holds maps of another Size or version: choose that, or remove the directory "+
			"and the rules that refer to it: %w", ErrConfig, cfg.PinDir, err)
	case errors.Is(err, syscall.EPERM) && !before511: // the library's hint at locked memory is for older kernels
		return nil, fmt.Errorf("load the programs and make the table: %w", syscall.EPERM)
	default:
		return nil, err
	}
	o := &objects{flows: loaded.Flows, lease: loaded.Lease, tally: &tally{loaded.Sums, loaded.BypassAccept, loaded.BypassDrop}}
	o.tallies = tallies{all: []*tally{o.tally}, load: func() (*tally, error) { return o.another(spec) }}
	if cfg.PinDir == "" {
		o.tallies.giveBack(o.tally)
	} else { // the first tally is for rules that are not ours
		if err := o.pin(cfg.PinDir); err != nil {
			return nil, errors.Join(err, o.close())
		}
	}
	return o, nil
}

// another loads the programs once more, to count by themselves.
func (o *objects) another(spec *ebpf.CollectionSpec) (*tally, error) {
	var loaded struct {
		Sums   *ebpf.Map     `ebpf:"sums"`
		Accept *ebpf.Program `ebpf:"bypass_accept"`
		Drop   *ebpf.Program `ebpf:"bypass_drop"`
	}
	shared := map[string]*ebpf.Map{"flows": o.flows, "lease": o.lease}
	if err := spec.LoadAndAssign(&loaded, &ebpf.CollectionOptions{MapReplacements: shared}); err != nil {
		return nil, err
	}
	return &tally{loaded.Sums, loaded.Accept, loaded.Drop}, nil
}

// takeOver opens the maps that a former process has pinned in dir; none if
// there are none.
func takeOver(dir string, specs map[string]*ebpf.MapSpec) (map[string]*ebpf.Map, error) {
	old := map[string]*ebpf.Map{}
	for name := range specs {
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return old, fmt.Errorf("take over what is pinned: %w", err)
		}
		old[name] = m
	}
	return old, nil
}

// pin pins what is not pinned yet. The programs of a former process stay: rules
// hold them, and they read the same maps.
func (o *objects) pin(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make Config.PinDir: %w", err)
	}
	for name, object := range o.pinned() {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		if err := object.Pin(path); err != nil {
			return fmt.Errorf("pin %s, which must be on a BPF file system (mount -t bpf bpf /sys/fs/bpf): %w", path, err)
		}
	}
	return nil
}

// Unpin removes what was pinned in [Config.PinDir], and the directory. Rules
// that refer to it keep working until they are removed.
func (b *Bypasser) Unpin() error {
	if b.cfg.PinDir == "" || b.backend != EBPF {
		return nil
	}
	var errs []error
	for name := range b.table.objects.pinned() {
		if err := os.Remove(filepath.Join(b.cfg.PinDir, name)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, os.Remove(b.cfg.PinDir))...)
}

func (o *objects) close() error {
	return errors.Join(o.flows.Close(), o.lease.Close(), o.tallies.close())
}
