//! Round trips, however the bytes are cut; and invalid frames are refused.

use std::{fmt, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::{
    command::{FILE, KILL, RENEW, RUN},
    *,
};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn millis() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_millis)
}

fn micros() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_micros)
}

fn lease() -> impl Strategy<Value = Lease> {
    let until = any::<Option<u32>>().prop_map(|at| at.map(|at| Duration::from_millis(at.into())));
    (millis(), until).prop_map(|(ttl, until)| Lease { ttl, until })
}

fn attempt() -> impl Strategy<Value = Attempt> {
    any::<(i64, u32)>().prop_map(|(job, number)| Attempt { job, number })
}

fn run() -> impl Strategy<Value = Run> {
    let texts = (bytes(), vec((bytes(), bytes()), 0..4), bytes(), bytes(), vec(bytes(), 0..4));
    let times = (millis(), millis(), lease());
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u64>());
    let looking = (any::<u64>(), any::<u64>(), vec(bytes(), 0..3));
    (attempt(), texts, times, numbers, looking).prop_map(
        |(
            attempt,
            (script, env, workdir, stdin, masks),
            (timeout, grace, lease),
            (log_head, log_tail, umask, files),
            (change_limit, artifact_limit, artifacts),
        )| Run {
            attempt,
            script,
            env,
            workdir,
            stdin,
            timeout,
            grace,
            lease,
            log_head,
            log_tail,
            umask,
            files,
            masks,
            change_limit,
            artifact_limit,
            artifacts,
        },
    )
}

fn file() -> impl Strategy<Value = File> {
    let flags = any::<(bool, bool)>();
    (bytes(), flags, bytes()).prop_map(|(path, (executable, more), bytes)| File {
        path,
        executable,
        more,
        bytes,
    })
}

fn changes() -> impl Strategy<Value = Changes> {
    let paths = || vec(bytes(), 0..3);
    (paths(), paths(), paths(), any::<u64>(), any::<bool>()).prop_map(
        |(created, modified, deleted, more, incomplete)| Changes {
            created,
            modified,
            deleted,
            more,
            incomplete,
        },
    )
}

fn artifacts() -> impl Strategy<Value = Artifacts> {
    let file = (bytes(), any::<u64>()).prop_map(|(path, bytes)| Artifact { path, bytes });
    (vec(file, 0..3), any::<u64>(), any::<u64>(), any::<bool>())
        .prop_map(|(files, more, unread, incomplete)| Artifacts { files, more, unread, incomplete })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        file().prop_map(Command::File),
        run().prop_map(|run| Command::Run(Box::new(run))),
        lease().prop_map(Command::Renew),
        millis().prop_map(|grace| Command::Terminate { grace }),
        Just(Command::Kill),
    ]
}

fn exit() -> impl Strategy<Value = Exit> {
    let status =
        prop_oneof![any::<u8>().prop_map(Status::Code), any::<u8>().prop_map(Status::Signal)];
    let killed = prop::sample::select(vec![
        None,
        Some(Killed::TimedOut),
        Some(Killed::Asked),
        Some(Killed::LeaseExpired),
    ]);
    let throttled = (0..u64::MAX, micros()).prop_map(|(times, time)| Throttled { times, time });
    let numbers = (any::<u64>(), prop::option::of(throttled), any::<u64>());
    (status, killed, any::<Option<u32>>(), micros(), micros(), numbers).prop_map(
        |(status, killed, oom_kills, cpu, wall, (peak_memory, throttled, said))| Exit {
            status,
            killed,
            oom_kills,
            cpu,
            wall,
            peak_memory,
            throttled,
            said,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let stream = prop::sample::select(vec![Stream::Stdout, Stream::Stderr]);
    prop_oneof![
        (any::<u32>(), any::<String>(), micros()).prop_map(|(version, boot, since_boot)| {
            Event::Ready(Ready { version, boot, since_boot })
        }),
        attempt().prop_map(Event::Taken),
        Just(Event::Started),
        (stream, micros(), any::<u64>(), bytes())
            .prop_map(|(stream, at, said, bytes)| { Event::Output { stream, at, said, bytes } }),
        (micros(), any::<u64>()).prop_map(|(at, bytes)| Event::Gap { at, bytes }),
        (micros(), any::<String>()).prop_map(|(at, text)| Event::Note { at, text }),
        changes().prop_map(Event::Changes),
        artifacts().prop_map(Event::Artifacts),
        exit().prop_map(Event::Exited),
        any::<String>().prop_map(Event::Failed),
    ]
}

fn encoded<M: Message>(messages: &[M]) -> Vec<u8> {
    let mut buffer = Vec::new();
    for message in messages {
        message.encode(&mut buffer);
    }
    buffer
}

/// Every message that a decoder returns for these pieces, up to the first error.
fn decoded<M: Message>(pieces: &[&[u8]]) -> Result<Vec<M>, Malformed> {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Some(message) = decoder.next()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

fn survives_every_split<M>(messages: &[M]) -> Result<(), TestCaseError>
where
    M: Message + Clone + fmt::Debug + PartialEq,
{
    let bytes = encoded(messages);
    for cut in 0..=bytes.len() {
        let (left, right) = bytes.split_at(cut);
        let decoded = decoded::<M>(&[left, right]);
        prop_assert_eq!(decoded.as_deref(), Ok(messages), "cut at {}", cut);
    }
    let single: Vec<_> = bytes.chunks(1).collect();
    let decoded = decoded::<M>(&single);
    prop_assert_eq!(decoded.as_deref(), Ok(messages));
    Ok(())
}

proptest! {
    #[test]
    fn commands_survive_every_split(commands in vec(command(), 1..4)) {
        survives_every_split(&commands)?;
    }

    #[test]
    fn events_survive_every_split(events in vec(event(), 1..4)) {
        survives_every_split(&events)?;
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_mean_something(bytes in vec(any::<u8>(), 0..200)) {
        // Whatever can be decoded means the same after it is encoded again.
        if let Ok(commands) = decoded::<Command>(&[&bytes]) {
            let again = encoded(&commands);
            prop_assert_eq!(&bytes[..again.len()], &again[..]);
        }
        let _ = decoded::<Event>(&[&bytes]);
    }

    #[test]
    fn arbitrary_payloads_do_not_panic(kind in 0_u8..30, payload in vec(any::<u8>(), 0..120)) {
        let _ = Command::decode(kind, &payload);
        let _ = Event::decode(kind, &payload);
    }
}

#[test]
fn output_is_encoded_alike_with_and_without_an_event() {
    let at = Duration::from_micros(12);
    let event = Event::Output { stream: Stream::Stderr, at, said: 34, bytes: b"x\n".to_vec() };
    let mut direct = Vec::new();
    encode_output(&mut direct, Stream::Stderr, at, 34, b"x\n");
    assert_eq!(direct, encoded(&[event]));
}

/// Workers and sandboxes of different builds meet, so these bytes must not change without a new
/// [`VERSION`].
#[test]
fn the_bytes_of_frames_are_fixed() {
    let renew = encoded(&[Command::Renew(Lease::of(Duration::from_secs(1)))]);
    let mut expected = vec![2, 16, 0, 0, 0, 0xe8, 3, 0, 0, 0, 0, 0, 0];
    expected.extend([0xff; 8]);
    expected.push(b'\n');
    assert_eq!(renew, expected);
    let output = Event::Output {
        stream: Stream::Stdout,
        at: Duration::from_micros(258),
        said: 3,
        bytes: b"hi".to_vec(),
    };
    let mut expected = vec![19, 18, 0, 0, 0];
    for number in [258_u64, 3] {
        expected.extend_from_slice(&number.to_le_bytes());
    }
    expected.extend_from_slice(b"hi\n");
    assert_eq!(encoded(&[output]), expected);
    let exit = Exit {
        status: Status::Signal(9),
        killed: Some(Killed::LeaseExpired),
        oom_kills: Some(1),
        cpu: Duration::from_micros(2),
        wall: Duration::from_micros(3),
        peak_memory: 4,
        throttled: Some(Throttled { times: 5, time: Duration::from_micros(6) }),
        said: 7,
    };
    let mut expected = vec![23, 59, 0, 0, 0, 1, 9, 3];
    for number in 1_u64..=7 {
        expected.extend_from_slice(&number.to_le_bytes());
    }
    expected.push(b'\n');
    assert_eq!(encoded(&[Event::Exited(exit)]), expected);
    let file = File { path: b"a".to_vec(), executable: true, more: false, bytes: b"bc".to_vec() };
    let expected = [&[5, 13, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'a', 1, 0][..], b"bc\n"].concat();
    assert_eq!(encoded(&[Command::File(file)]), expected);
    let changes = Changes {
        created: vec![b"a".to_vec()],
        modified: vec![],
        deleted: vec![],
        more: 2,
        incomplete: true,
    };
    let mut expected = vec![25, 42, 0, 0, 0, 1];
    for number in [2_u64, 1, 1] {
        expected.extend_from_slice(&number.to_le_bytes());
    }
    expected.push(b'a');
    expected.extend([0; 16]);
    expected.push(b'\n');
    assert_eq!(encoded(&[Event::Changes(changes)]), expected);
    let artifacts = Artifacts {
        files: vec![Artifact { path: b"a".to_vec(), bytes: 4 }],
        more: 2,
        unread: 3,
        incomplete: false,
    };
    let mut expected = vec![26, 34, 0, 0, 0, 0];
    for number in [2_u64, 3, 4, 1] {
        expected.extend_from_slice(&number.to_le_bytes());
    }
    expected.extend_from_slice(b"a\n");
    assert_eq!(encoded(&[Event::Artifacts(artifacts)]), expected);
}

#[test]
fn what_is_no_frame_is_named() {
    let too_long = (MAX_PAYLOAD as u32 + 1).to_le_bytes();
    let cases: [(&[u8], Malformed); 7] = [
        (&[99, 0, 0, 0, 0, b'\n'], Malformed::UnknownKind(99)),
        (&[KILL, too_long[0], too_long[1], too_long[2], too_long[3]], {
            Malformed::TooLong(MAX_PAYLOAD as u32 + 1)
        }),
        (&[KILL, 0, 0, 0, 0, b'x'], Malformed::NoLineFeed),
        (&[KILL, 1, 0, 0, 0, 0, b'\n'], Malformed::BadPayload(KILL)),
        (&[RENEW, 1, 0, 0, 0, 0, b'\n'], Malformed::BadPayload(RENEW)),
        (&[RUN, 0, 0, 0, 0, b'\n'], Malformed::BadPayload(RUN)),
        // Neither executable nor not.
        (&[FILE, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, b'\n'], Malformed::BadPayload(FILE)),
    ];
    for (bytes, error) in cases {
        assert_eq!(decoded::<Command>(&[bytes]), Err(error));
    }
}

#[test]
fn a_run_does_not_show_what_may_be_secret() {
    let secret = b"hunter2".to_vec();
    let run = Run {
        attempt: Attempt { job: 1, number: 1 },
        script: secret.clone(),
        env: vec![(b"TOKEN".to_vec(), secret.clone())],
        workdir: b"/work".to_vec(),
        stdin: secret,
        timeout: Duration::from_secs(7),
        grace: Duration::ZERO,
        lease: Lease::of(Duration::ZERO),
        log_head: 0,
        log_tail: 0,
        umask: 0o022,
        files: 0,
        masks: vec![],
        change_limit: 0,
        artifact_limit: 0,
        artifacts: vec![],
    };
    let text = format!("{:?}", Command::Run(Box::new(run)));
    assert_eq!(text, "Run(Run { timeout: 7s, lease: Lease { ttl: 0ns, until: None }, .. })");
}
