//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/bench/machine"
	"parsec/internal/format/request"
	"parsec/internal/verify/verifytest"
)

// team is a workspace with the devices of all its members.
type team struct {
	company *company
	writer
	devices []*verifytest.Device
	// arrived has, for each device, when it was told of an index.
	arrived chan arrival
}

type arrival struct {
	index uint64
	at    time.Time
}

// measureDevices subscribes many devices at two server processes, and commits
// to the workspaces of all.
func (b *bench) measureDevices(ctx context.Context) (err error) {
	database, err := b.database(ctx)
	if err != nil {
		return err
	}
	var servers []*server
	for range 2 {
		s, err := b.startServer(ctx, "--database", database)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.stop()) }()
		servers = append(servers, s)
	}
	teams, err := b.recruit(ctx, servers[0])
	if err != nil {
		return err
	}
	before, err := memoryOf(servers)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var open sync.WaitGroup
	defer open.Wait()
	defer cancel()
	began, n := time.Now(), 0
	for _, t := range teams {
		t.arrived = make(chan arrival, len(t.devices))
		if err := t.subscribe(ctx, servers, &open); err != nil {
			return err
		}
		n += len(t.devices)
	}
	subscribing := time.Since(began)
	after, err := memoryOf(servers)
	if err != nil {
		return err
	}
	commits, events, err := commitToAll(ctx, teams, b.pick(3, 1))
	if err != nil {
		return err
	}
	fmt.Printf("\nload %s\n\n", machine.Load())
	fmt.Println("| devices | workspaces | subscribing | memory each | commit until its answer | commit until a device hears of it | 99 of 100 devices within |")
	fmt.Println("|---|---|---|---|---|---|---|")
	fmt.Printf("| %d | %d | %.0f s | %.0f KiB | %s | %s | %s |\n", n, len(teams), subscribing.Seconds(), float64(after-before)/float64(n)/1024,
		brief(quantile(commits, 50)), brief(quantile(events, 50)), brief(quantile(events, 99)))
	return nil
}

func memoryOf(servers []*server) (total int64, err error) {
	for _, s := range servers {
		n, err := s.memory()
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// The people: companies, each with so many workspaces of so many members, who
// have so many devices each.
func (b *bench) recruit(ctx context.Context, s *server) ([]*team, error) {
	companies, workspaces, members, devices := b.pick(10, 2), b.pick(10, 2), b.pick(10, 5), 10
	all := make([][]*team, companies)
	group, ctx := errgroup.WithContext(ctx)
	for i := range all {
		group.Go(func() error {
			c, err := found(ctx, s, fmt.Sprintf("Company %d", i))
			if err != nil {
				return err
			}
			for range workspaces {
				t, err := c.recruit(ctx, members, devices)
				if err != nil {
					return err
				}
				all[i] = append(all[i], t)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var teams []*team
	for _, some := range all {
		teams = append(teams, some...)
	}
	return teams, nil
}

func (c *company) recruit(ctx context.Context, members, devices int) (*team, error) {
	t := &team{company: c}
	for i := range members {
		d, err := c.addUser(ctx)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			t.device = d
			t.workspace, err = c.createWorkspace(ctx, d)
		} else {
			err = c.share(ctx, t.device, t.workspace, d)
		}
		if err != nil {
			return nil, err
		}
		t.devices = append(t.devices, d)
		for range devices - 1 {
			more, err := c.addDevice(ctx, d)
			if err != nil {
				return nil, err
			}
			t.devices = append(t.devices, more)
		}
	}
	return t, nil
}

// subscribe opens an event stream of each of the team's devices, at the
// servers in turn, and waits until all know where their logs stand.
func (t *team) subscribe(ctx context.Context, servers []*server, open *sync.WaitGroup) error {
	var group errgroup.Group
	group.SetLimit(20)
	for i, d := range t.devices {
		group.Go(func() error {
			e, err := t.connect(servers[i%len(servers)], d)
			if err != nil {
				return err
			}
			for told := false; !told; {
				m, err := e.next()
				if err != nil {
					return errors.Join(err, e.conn.Close())
				}
				told = len(m.GetWorkspace()) > 0
			}
			context.AfterFunc(ctx, func() { _ = e.conn.Close() }) // which ends the reading
			open.Go(func() { e.read(ctx, t) })
			return nil
		})
	}
	return group.Wait()
}

// stream is an event stream over HTTP/1.1, with little memory for each.
type stream struct {
	conn net.Conn
	body io.Reader
}

// connect sends the request and reads the head of the answer.
func (t *team) connect(s *server, d *verifytest.Device) (*stream, error) {
	const path = parsecv1connect.OrganizationServiceSubscribeProcedure
	host := strings.TrimPrefix(s.url, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return nil, err
	}
	message := string(make([]byte, 5)) // an empty one, behind its flags and its length
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/connect+proto\r\nContent-Length: %d\r\n%s: %s\r\n\r\n%s",
		path, host, len(message), request.Header, t.company.signed(d, path, sha256.Sum256([]byte(message))), message)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	in := bufio.NewReaderSize(conn, 1024)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if answer.StatusCode != http.StatusOK {
		text, _ := httputil.DumpResponse(answer, true) // what can be told of the failure
		return nil, errors.Join(fmt.Errorf("subscribe: %s", text), conn.Close())
	}
	return &stream{conn, answer.Body}, nil
}

// next reads one message.
func (e *stream) next() (*parsecv1.SubscribeResponse, error) {
	var head [5]byte
	if _, err := io.ReadFull(e.body, head[:]); err != nil {
		return nil, err
	}
	data := make([]byte, binary.BigEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(e.body, data); err != nil {
		return nil, err
	}
	if head[0] != 0 {
		return nil, fmt.Errorf("the stream ended: %s", data)
	}
	m := new(parsecv1.SubscribeResponse)
	return m, proto.Unmarshal(data, m)
}

// read notes when the workspace moved, until the stream ends.
func (e *stream) read(ctx context.Context, t *team) {
	for {
		m, err := e.next()
		if err != nil {
			return
		}
		if string(m.GetWorkspace()) != string(t.workspace.ID[:]) {
			continue
		}
		select {
		case t.arrived <- arrival{m.GetIndex(), time.Now()}:
		case <-ctx.Done():
			return
		}
	}
}

// commitToAll commits to each workspace in turn and waits until all its
// devices know. It returns how long commits took until their answer, and until
// each device was told.
func commitToAll(ctx context.Context, teams []*team, rounds int) (commits, events []time.Duration, err error) {
	for range rounds {
		for _, t := range teams {
			body, err := t.company.commit(t.device, t.workspace, 1)
			if err != nil {
				return nil, nil, err
			}
			index := t.workspace.State.Position().Index
			sent := time.Now()
			if err := t.company.post(ctx, t.device, parsecv1connect.WorkspaceServiceCommitProcedure, body); err != nil {
				return nil, nil, err
			}
			commits = append(commits, time.Since(sent))
			for left := len(t.devices); left > 0; {
				select {
				case a := <-t.arrived:
					if a.index == index {
						events = append(events, a.at.Sub(sent))
						left--
					}
				case <-time.After(time.Minute):
					return nil, nil, fmt.Errorf("%d of %d devices were not told of a commit for a minute", left, len(t.devices))
				}
			}
		}
	}
	return commits, events, nil
}
