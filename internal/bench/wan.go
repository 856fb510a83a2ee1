//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// wan is two network namespaces, joined by a line with a delay, which most
// kernels could simulate and some are built without. A program in one reaches
// the other only through the line: every packet is read from one TUN device,
// held back, and written to the other.
type wan struct {
	near, far string // the namespaces
	delay     time.Duration
	devices   []*os.File
	stopping  atomic.Bool
	relays    sync.WaitGroup
}

// The addresses of both ends.
const (
	nearAddress = "10.99.0.1"
	farAddress  = "10.99.0.2"
)

// newWAN joins two new namespaces by a line with this delay each way. It
// needs root.
func newWAN(ctx context.Context, delay time.Duration) (w *wan, err error) {
	w = &wan{near: fmt.Sprintf("bench%dn", os.Getpid()), far: fmt.Sprintf("bench%df", os.Getpid()), delay: delay}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(ctx))
		}
	}()
	for _, end := range []struct{ space, address string }{{w.near, nearAddress}, {w.far, farAddress}} {
		name := "tun" + strings.TrimPrefix(end.space, "bench")
		if err := ip(ctx, "netns", "add", end.space); err != nil {
			return w, err
		}
		device, err := tun(name)
		if err != nil {
			return w, err
		}
		w.devices = append(w.devices, device)
		for _, args := range [][]string{
			{"link", "set", name, "netns", end.space},
			{"-n", end.space, "addr", "add", end.address + "/30", "dev", name},
			{"-n", end.space, "link", "set", name, "up"},
			{"-n", end.space, "link", "set", "lo", "up"},
		} {
			if err := ip(ctx, args...); err != nil {
				return w, err
			}
		}
	}
	w.relay(w.devices[0], w.devices[1])
	w.relay(w.devices[1], w.devices[0])
	return w, nil
}

func ip(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// tun makes a TUN device.
func tun(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	var request struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], name)
	request.flags = unix.IFF_TUN | unix.IFF_NO_PI
	if _, _, code := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request))); code != 0 {
		return nil, errors.Join(fmt.Errorf("make TUN device: %w", code), unix.Close(fd))
	}
	if err := unix.SetNonblock(fd, true); err != nil { // lets the runtime wait for packets
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// packet is on its way.
type packet struct {
	due  time.Time
	data []byte
}

// relay carries packets in one direction until the devices are closed. The
// line holds what a gigabit would send in the delay, many times over.
func (w *wan) relay(from, to *os.File) {
	line := make(chan packet, 20_000)
	w.relays.Go(func() {
		for p := range line {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.data); err != nil && !w.stopping.Load() {
				fmt.Fprintln(os.Stderr, "bench: line:", err)
			}
		}
	})
	w.relays.Go(func() {
		defer close(line)
		for {
			p := packet{data: make([]byte, 64<<10)}
			n, err := from.Read(p.data)
			if err != nil {
				return
			}
			p.data, p.due = p.data[:n], time.Now().Add(w.delay)
			line <- p
		}
	})
}

// inside returns the command as it runs in a namespace.
func inside(space string, command *exec.Cmd) *exec.Cmd {
	path, err := exec.LookPath("ip")
	if err != nil { // newWAN has found it
		return command
	}
	command.Args = append([]string{"ip", "netns", "exec", space, command.Path}, command.Args[1:]...)
	command.Path = path
	return command
}

// close removes the namespaces and waits for the relays.
func (w *wan) close(ctx context.Context) (err error) {
	w.stopping.Store(true)
	for _, d := range w.devices {
		err = errors.Join(err, d.Close())
	}
	w.relays.Wait()
	for _, space := range []string{w.near, w.far} {
		if _, found := os.Stat("/run/netns/" + space); found == nil {
			err = errors.Join(err, ip(context.WithoutCancel(ctx), "netns", "delete", space))
		}
	}
	return err
}

// overWAN measures the import of many small files over a line of 25 ms each way.
func (b *bench) overWAN(ctx context.Context) (err error) {
	if os.Getuid() != 0 {
		fmt.Println("\nnot root: nothing was measured over a line with a delay")
		return nil
	}
	s, dir, err := b.data(ctx, "small")
	if err != nil {
		return err
	}
	w, err := newWAN(ctx, 25*time.Millisecond)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	fmt.Printf("\n%d files of %d bytes at %d ms a round trip\n\n", s.files, s.size, 2*w.delay.Milliseconds())
	fmt.Println("| way | time | least | most | requests | CPU |\n|---|---|---|---|---|---|")
	in, out := new(way), new(way)
	for range b.runs {
		st, err := b.farStage(ctx, w)
		if err != nil {
			return err
		}
		for _, m := range []struct {
			way  *way
			args []string
		}{{in, []string{"cp", "-r", dir, workspace + ":/set"}}, {out, []string{"cp", "-r", workspace + ":/set", st.path("out")}}} {
			c, err := timed(st.command(ctx, m.args...))
			if err != nil {
				return errors.Join(err, second(st.stop()))
			}
			m.way.add(c, cost{})
		}
		if _, err := st.stop(); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		name string
		way  *way
	}{{"import", in}, {"export", out}} {
		all := sorted(m.way.client, wall)
		fmt.Printf("| %s | %d ms | %d | %d | %d | %d ms |\n", m.name, all[len(all)/2].Milliseconds(), all[0].Milliseconds(), all[len(all)-1].Milliseconds(),
			m.way.client[0].requests, median(m.way.client, cpu).Milliseconds())
	}
	return nil
}

func second(_ cost, err error) error { return err }

// farStage is a stage whose server is at the far end.
func (b *bench) farStage(ctx context.Context, w *wan) (*stage, error) {
	s, err := b.emptyStage()
	if err != nil {
		return nil, err
	}
	s.wan, s.address = w, farAddress+":6770"
	return s, s.begin(ctx)
}
