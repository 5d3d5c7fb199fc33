//! Objects at work: loaded by a verified loader, attached, and seen to do what they are for.
//!
//! Runs in the virtual machines of `cargo xtask kernels`; elsewhere each test says that it was
//! skipped.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::time::{Duration, Instant};

use bpfseal::artifact::install::Code;
use bpfseal::kernel::{
    self, Direction, Link, Linux, NetfilterHook, PerfEvent, RingBuffer, filter_socket,
};
use bpfseal::uapi::{Errno, XDP_FLAGS_SKB_MODE, attach};
use bpfseal::{LoadError, LoadOptions};
use bpfseal_proof::bench::{in_machine, trust};
use bpfseal_work::{
    cgroup, gate, iter, lsm, maps, more_maps, probes, socket, syscall, syscall_unsigned, tc,
    tracing, xdp,
};

/// The loopback interface, which is always the first.
const LOOPBACK: u32 = 1;

/// Whether this is a machine with a kernel that verifies at load time; the key is trusted then.
fn in_vm() -> bool {
    let there = in_machine();
    if there {
        trust();
    }
    there
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

/// A system call that nobody else makes here.
fn call() {
    let own = rustix::process::getpid();
    rustix::process::getpgid(Some(own)).unwrap();
}

/// Sends a packet to ourselves, and receives it if it arrives.
fn send(first: u8, len: usize) -> Option<usize> {
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    receive(&receiver, first, len)
}

fn receive(receiver: &UdpSocket, first: u8, len: usize) -> Option<usize> {
    let wait = Some(Duration::from_millis(200));
    receiver.set_read_timeout(wait).unwrap();
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut packet = vec![0; len];
    packet[0] = first;
    let to = receiver.local_addr().unwrap();
    let _ = sender.send_to(&packet, to);
    let mut buffer = [0; 2048];
    receiver.recv(&mut buffer).ok()
}

#[test]
fn tracing_counts_and_sends_events() {
    if !in_vm() {
        return;
    }
    let skel = tracing::WorkTracing::open_and_load().unwrap();
    let skel = skel.attach().unwrap();
    assert_eq!(skel.links.len(), 4);
    skel.data_config().only_tgid.set(own_pid());
    for _ in 0..5 {
        call();
    }
    skel.data_config().only_tgid.set(0);
    let bss = skel.bss();
    assert_eq!((bss.entries.get(), bss.exits.get()), (5, 5));
    let group = rustix::process::getpgrp().as_raw_nonzero().get();
    assert_eq!(bss.last_result.get(), u64::from(group.cast_unsigned()));
    assert!(bss.calls.get() >= 5 && bss.raw_calls.get() >= 5);
    // getpgid is 121.
    let key = 121u64.to_ne_bytes();
    let count = skel.maps().by_number.lookup(&Linux, &key).unwrap();
    assert_eq!(u64::from_ne_bytes(count.try_into().unwrap()), 5);
    let keys = std::iter::successors(
        skel.maps().by_number.next_key(&Linux, None).unwrap(),
        |key| skel.maps().by_number.next_key(&Linux, Some(key)).unwrap(),
    );
    assert!(keys.into_iter().any(|found| found == key));
    // Detached, nothing moves any more.
    let entries = bss.entries.get();
    let skel = skel.detach();
    skel.data_config().only_tgid.set(own_pid());
    call();
    assert_eq!(skel.bss().entries.get(), entries);
}

/// The number and the process of an event of `work_tracing.bpf.c`.
fn event(record: &[u8]) -> (u64, u32) {
    assert_eq!(record.len(), 16);
    let number = u64::from_ne_bytes(record[..8].try_into().unwrap());
    (
        number,
        u32::from_ne_bytes(record[8..12].try_into().unwrap()),
    )
}

#[test]
fn a_ring_buffer_is_read() {
    if !in_vm() {
        return;
    }
    let skel = tracing::WorkTracing::open_and_load().unwrap();
    let skel = skel.attach().unwrap();
    let mut ring = RingBuffer::new(&Linux, skel.maps().events).unwrap();
    let config = skel.data_config();
    assert!(!ring.wait(Some(Duration::ZERO)).unwrap());
    // More than the ring has room for, so that it goes round.
    let mut calls = 0;
    for _ in 0..100 {
        config.only_tgid.set(own_pid());
        for _ in 0..5 {
            call();
        }
        config.only_tgid.set(0);
        assert!(ring.wait(Some(Duration::from_secs(10))).unwrap());
        while let Some(record) = ring.next_record() {
            let (number, tgid) = event(record);
            assert_eq!(tgid, own_pid().cast_unsigned());
            // getpgid is 121.
            calls += u32::from(number == 121);
        }
    }
    assert_eq!(calls, 500);
    // Nothing is left, and the wait for more has an end.
    assert!(!ring.wait(Some(Duration::from_millis(20))).unwrap());
    // Without an end it waits for a record.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ring.wait(None));
        config.only_tgid.set(own_pid());
        call();
        config.only_tgid.set(0);
        assert!(waiting.join().unwrap().unwrap());
    });
    // A second reader goes on where the first is.
    let mut other = RingBuffer::new(&Linux, skel.maps().events).unwrap();
    assert!(other.next_record().is_some());
    // Another kind of map is refused.
    assert!(RingBuffer::new(&Linux, skel.maps().by_number).is_err());
}

/// Called through its address in the file.
#[inline(never)]
fn probed(value: u64) -> u64 {
    std::hint::black_box(value) + 1
}

/// Where a function of this process is in its file.
fn file_offset(address: usize) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    for line in maps.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let (start, end) = words[0].split_once('-').unwrap();
        let hex = |text| u64::from_str_radix(text, 16).unwrap();
        let range = hex(start)..hex(end);
        if range.contains(&(address as u64)) {
            return address as u64 - range.start + hex(words[2]);
        }
    }
    panic!("no mapping has the address");
}

#[test]
fn probes_are_hit() {
    if !in_vm() {
        return;
    }
    let skel = probes::WorkProbes::open_and_load().unwrap();
    skel.bss().only_tgid.set(own_pid());
    let progs = skel.progs();
    let symbol = "__x64_sys_getpgid";
    let program = std::env::current_exe().unwrap();
    let offset = file_offset(probed as *const () as usize);
    let event = |event: Result<PerfEvent, kernel::SyscallError>, program| {
        Link::perf_event(&Linux, program, &event.unwrap()).unwrap()
    };
    let kprobe = |at_return| PerfEvent::kprobe(&Linux, symbol, 0, at_return);
    let links = [
        event(kprobe(false), progs.at_entry),
        event(kprobe(true), progs.at_return),
        Link::kprobe_multi(&Linux, progs.at_many, &[symbol], false).unwrap(),
        event(
            PerfEvent::uprobe(&Linux, &program, offset, false, -1),
            progs.in_user,
        ),
        Link::uprobe_multi(&Linux, progs.in_user_many, &program, &[offset], false, 0).unwrap(),
        event(
            PerfEvent::tracepoint(&Linux, "syscalls", "sys_enter_getpgid"),
            progs.at_tracepoint,
        ),
        event(PerfEvent::cpu_clock(&Linux, 0, 1_000_000), progs.tick),
    ];
    for _ in 0..3 {
        call();
        assert_eq!(probed(1), 2);
    }
    let start = Instant::now();
    while skel.bss().ticks.get() == 0 && start.elapsed() < Duration::from_secs(5) {
        std::hint::black_box(probed(2));
    }
    let bss = skel.bss();
    assert_eq!(
        (bss.kprobes.get(), bss.kretprobes.get(), bss.multi.get()),
        (3, 3, 3)
    );
    assert_eq!(bss.tracepoints.get(), 3);
    assert!(bss.uprobes.get() >= 3 && bss.uprobes_multi.get() >= 3);
    assert!(bss.ticks.get() > 0);
    drop(links);
    call();
    assert_eq!(skel.bss().kprobes.get(), 3);
    let missing = Link::kprobe_multi(&Linux, skel.progs().at_many, &["no_such"], false);
    assert!(missing.is_err());
}

#[test]
fn a_security_module_refuses() {
    if !in_vm() {
        return;
    }
    let skel = lsm::WorkLsm::open_and_load().unwrap();
    let skel = skel.attach().unwrap();
    let folder = Path::new("/tmp/lsm");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::create_dir(folder.join("allowed")).unwrap();
    let error = std::fs::create_dir(folder.join("forbidden")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    assert_eq!(skel.bss().refused.get(), 1);
    assert!(skel.bss().asked.get() >= 2);
    drop(skel);
    std::fs::create_dir(folder.join("forbidden")).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn xdp_drops_what_is_marked() {
    if !in_vm() {
        return;
    }
    let skel = xdp::WorkXdp::open_and_load().unwrap();
    let mut packet = [0; 64];
    packet[23] = 17;
    packet[42] = b'X';
    let run = |packet: &[u8]| skel.progs().filter.run_on_packet(&Linux, packet).unwrap();
    assert_eq!(run(&packet), 1, "XDP_DROP");
    packet[42] = b'Y';
    assert_eq!(run(&packet), 2, "XDP_PASS");
    // On a device: the generic mode, as the loopback interface has no other.
    let link = Link::xdp(&Linux, skel.progs().filter, LOOPBACK, XDP_FLAGS_SKB_MODE).unwrap();
    let busy = Link::xdp(&Linux, skel.progs().filter, LOOPBACK, XDP_FLAGS_SKB_MODE).unwrap_err();
    assert_eq!(busy.errno_name(), "EBUSY");
    assert_eq!(send(b'X', 20), None);
    assert_eq!(send(b'Y', 20), Some(20));
    drop(link);
    assert_eq!(send(b'X', 20), Some(20));
    assert_eq!(skel.bss().dropped.get(), 2);
    let udp = 17u32.to_ne_bytes();
    let counts = skel.maps().by_protocol.lookup(&Linux, &udp).unwrap();
    let sum: u64 = counts
        .chunks_exact(8)
        .map(|count| u64::from_ne_bytes(count.try_into().unwrap()))
        .sum();
    assert!(sum >= 4, "{sum}");
}

#[test]
fn traffic_is_seen_both_ways() {
    if !in_vm() {
        return;
    }
    let skel = tc::WorkTc::open_and_load().unwrap();
    let progs = skel.progs();
    let local_in = NetfilterHook {
        protocol: 2,
        hook: 1,
        priority: -100,
    };
    let links = [
        Link::tcx(&Linux, progs.ingress, LOOPBACK, Direction::Ingress).unwrap(),
        Link::tcx(&Linux, progs.egress, LOOPBACK, Direction::Egress).unwrap(),
        Link::netfilter(&Linux, progs.hook, local_in).unwrap(),
    ];
    assert_eq!(send(b'a', 200), Some(200));
    let bss = skel.bss();
    assert!(bss.ingress_packets.get() >= 1 && bss.egress_packets.get() >= 1);
    assert!(bss.egress_bytes.get() >= 200 && bss.hooked.get() >= 1);
    let info = links[0].info(&Linux).unwrap();
    assert_eq!(info.program, progs.ingress.info(&Linux).unwrap().id);
}

#[test]
fn a_cgroup_is_watched() {
    if !in_vm() {
        return;
    }
    let skel = cgroup::WorkCgroup::open_and_load().unwrap();
    let folder = Path::new("/sys/fs/cgroup/bpfseal");
    std::fs::create_dir_all(folder).unwrap();
    let group = File::open(folder).unwrap();
    let descriptor = group.as_fd().as_raw_fd().to_ne_bytes();
    let groups = skel.maps().groups;
    groups.update(&Linux, &[0; 4], &descriptor, 0).unwrap();
    let progs = skel.progs();
    let on_group = |program, kind| Link::cgroup(&Linux, program, group.as_fd(), kind).unwrap();
    let links = [
        on_group(progs.out, attach::BPF_CGROUP_INET_EGRESS),
        on_group(progs.r#in, attach::BPF_CGROUP_INET_INGRESS),
        on_group(progs.create, attach::BPF_CGROUP_INET_SOCK_CREATE),
        on_group(progs.connect, attach::BPF_CGROUP_INET4_CONNECT),
    ];
    let other = attach::BPF_CGROUP_INET4_CONNECT;
    let wrong = Link::cgroup(&Linux, progs.out, group.as_fd(), other).unwrap_err();
    assert_eq!(wrong.errno_name(), "EINVAL");
    let all = skel.loaded().attach().unwrap();
    assert_eq!(
        all.len(),
        1,
        "only the raw tracepoint can be attached alone"
    );
    let own = std::process::id().to_string();
    std::fs::write(folder.join("cgroup.procs"), &own).unwrap();
    assert_eq!(send(b'a', 20), Some(20));
    let discard = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let error = TcpStream::connect(discard).unwrap_err();
    std::fs::write("/sys/fs/cgroup/cgroup.procs", &own).unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    let bss = skel.bss();
    assert!(bss.out_packets.get() >= 1 && bss.in_packets.get() >= 1);
    assert!(bss.sockets.get() >= 3 && bss.member.get() > 0);
    assert_eq!((bss.connects.get(), bss.refused.get()), (1, 1));
    drop(links);
}

#[test]
fn a_socket_is_filtered() {
    if !in_vm() {
        return;
    }
    let skel = socket::WorkSocket::open_and_load().unwrap();
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    filter_socket(&Linux, receiver.as_fd(), skel.progs().filter).unwrap();
    assert_eq!(receive(&receiver, 0, 20), None);
    assert_eq!(receive(&receiver, 0, 200), Some(200));
    let bss = skel.bss();
    assert_eq!((bss.dropped.get(), bss.taken.get()), (1, 1));
}

#[test]
fn iterators_are_read() {
    if !in_vm() {
        return;
    }
    let skel = iter::WorkIter::open_and_load().unwrap();
    let link = Link::iterator(&Linux, skel.progs().each_task).unwrap();
    let mut pids = Vec::new();
    let mut file = link.iterate(&Linux).unwrap();
    file.read_to_end(&mut pids).unwrap();
    let own = own_pid().to_ne_bytes();
    assert!(pids.chunks_exact(4).any(|pid| pid == own));
    assert_eq!(skel.bss().tasks.get() as usize, pids.len() / 4);
    let numbers = skel.maps().numbers;
    for key in 0..4u32 {
        let value = u64::from(key * 10).to_ne_bytes();
        numbers
            .update(&Linux, &key.to_ne_bytes(), &value, 0)
            .unwrap();
    }
    let link = Link::map_iterator(&Linux, skel.progs().each_element, numbers).unwrap();
    link.iterate(&Linux)
        .unwrap()
        .read_to_end(&mut Vec::new())
        .unwrap();
    assert_eq!(skel.bss().elements.get(), 4);
    assert_eq!(skel.bss().total.get(), 60);
}

#[test]
fn a_program_is_run_with_typed_data() {
    if !in_vm() {
        return;
    }
    let skel = syscall::WorkSyscall::open_and_load().unwrap();
    assert_eq!(skel.rodata().factor.get(), 3);
    assert_eq!(skel.data_history().history.get(), [1, 2, 3, 4]);
    let run = |expect| {
        let mut request = [0; 16];
        request[..4].copy_from_slice(&20u32.to_ne_bytes());
        request[4..8].copy_from_slice(&5u32.to_ne_bytes());
        let answer = skel.progs().add.run(&Linux, &mut request).unwrap();
        let sum = u64::from_ne_bytes(request[8..].try_into().unwrap());
        assert_eq!(sum, expect);
        answer
    };
    assert_eq!(run(3 * 25 + 100), 1);
    skel.data().bias.set(7);
    assert_eq!(run(3 * 25 + 7), 2);
    assert_eq!(skel.bss().runs.get(), 2);
    let history = skel.data_history().history;
    assert_eq!(history.get(), [175, 82, 3, 4]);
    history.at(3).unwrap().set(9);
    assert_eq!(history.get(), [175, 82, 3, 9]);
    assert!(history.at(4).is_none());
    // The constant is frozen: nobody can map it writable.
    assert!(!skel.loaded().data("rodata").unwrap().is_writable());
    let error = skel.maps().rodata.mmap(&Linux, true).unwrap_err();
    assert_eq!(error.errno_name(), "EPERM");
}

#[test]
fn initial_values_are_for_unsigned_loaders() {
    if !in_vm() {
        return;
    }
    let mut open = syscall_unsigned::WorkSyscall::open();
    assert_eq!((open.rodata.factor, open.data.bias), (3, 100));
    open.rodata.factor = 11;
    open.data_history.history[2] = 33;
    let skel = open
        .insecure_load_unsigned(&LoadOptions::default())
        .unwrap();
    assert_eq!(skel.rodata().factor.get(), 11);
    assert_eq!(skel.data_history().history.get(), [1, 2, 33, 4]);
    // A value of another size is refused: the loader would take what is behind it, too.
    let artifact = syscall_unsigned::artifact().unwrap();
    let map = artifact
        .interface
        .maps
        .iter()
        .position(|map| map == "rodata");
    let mut options = LoadOptions::default();
    options.set_initial_value(map.unwrap(), vec![1]);
    let error = bpfseal::insecure_load_unsigned(artifact, &options).unwrap_err();
    assert!(error.to_string().contains("1 bytes"), "{error}");
    // A signed one is refused with them, instead of ignoring them.
    let mut options = LoadOptions::default();
    options.set_max_entries(0, 5);
    let error = syscall::WorkSyscall::open().load(&options).unwrap_err();
    assert!(matches!(error, LoadError::Fixed { .. }), "{error}");
    assert!(error.to_string().contains("sign it again"));
}

#[test]
fn thirteen_types_of_maps_work() {
    if !in_vm() {
        return;
    }
    let skel = maps::WorkMaps::open_and_load().unwrap();
    let called = skel.progs().called.as_fd().as_raw_fd().to_ne_bytes();
    let programs = skel.maps().programs;
    programs.update(&Linux, &[0; 4], &called, 0).unwrap();
    let packet = [0; 64];
    skel.progs().use_all.run_on_packet(&Linux, &packet).unwrap();
    assert_eq!(skel.bss().tail_calls.get(), 1);
    // The map of maps in a hash leads to one whose element the array has just counted up.
    assert_eq!(
        skel.bss().worked.get(),
        (1 << 13) - 1,
        "{:b}",
        skel.bss().worked.get()
    );
    let taken = skel
        .maps()
        .second
        .lookup(&Linux, &1u32.to_ne_bytes())
        .unwrap();
    assert_eq!(taken, 1u64.to_ne_bytes());
    // Queues have no keys.
    let queue = skel.maps().queue;
    queue.update(&Linux, &[], &5u64.to_ne_bytes(), 0).unwrap();
    assert_eq!(queue.take(&Linux, &[]).unwrap(), 5u64.to_ne_bytes());
    assert_eq!(queue.take(&Linux, &[]).unwrap_err().errno_name(), "ENOENT");
}

#[test]
fn tasks_kernel_functions_and_symbols_are_used() {
    if !in_vm() {
        return;
    }
    let skel = more_maps::WorkMoreMaps::open_and_load().unwrap();
    let skel = skel.attach().unwrap();
    skel.bss().only_tgid.set(own_pid());
    call();
    skel.bss().only_tgid.set(0);
    let bss = skel.bss();
    assert!(bss.seen.get() > 0);
    assert_eq!(bss.worked.get(), 63, "{:b}", bss.worked.get());
    let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get();
    assert_eq!(bss.parent_tgid.get(), parent, "CO-RE");
}

/// A policy: while the gate is closed, only signed loaders, and what they install, are let in.
#[test]
fn a_gate_lets_signed_loaders_in() {
    if !in_vm() {
        return;
    }
    let skel = gate::WorkGate::open_and_load().unwrap();
    let skel = skel.attach().unwrap();
    let unsigned =
        || syscall_unsigned::WorkSyscall::open().insecure_load_unsigned(&LoadOptions::default());
    assert!(unsigned().is_ok());
    skel.bss().closed_for.set(own_pid());
    let error = unsigned().unwrap_err();
    let signed = syscall::WorkSyscall::open_and_load();
    skel.bss().closed_for.set(0);
    let LoadError::Refused(refused) = error else {
        panic!("{error}");
    };
    assert_eq!(refused.errno(), Errno::EPERM);
    assert_eq!(refused.code(), Code::SecurityModule, "{refused}");
    assert!(signed.is_ok());
    // The loader and its one program; the refused one was tried twice, the second time with a log.
    assert_eq!((skel.bss().passed.get(), skel.bss().refused.get()), (2, 2));
}
