//! A worker whose network lets nothing in that it did not ask for, as behind a router that translates addresses, and
//! nothing out but to its master.

use std::{fs, net::IpAddr, os::fd::AsFd as _, path::Path, process::Command, thread};

use orchestra_tests::{Namespace, skip};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::*;

/// `ca.pem`, and `cert.pem` for this address with its `key.pem`.
fn make_certificates(folder: &Path, address: IpAddr) {
    let authority = rcgen::KeyPair::generate().unwrap();
    let mut of_authority = rcgen::CertificateParams::default();
    of_authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let of_authority = rcgen::CertifiedIssuer::self_signed(of_authority, authority).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![address.to_string()]).unwrap();
    let leaf = leaf.signed_by(&key, &of_authority).unwrap();
    fs::write(folder.join("ca.pem"), of_authority.pem()).unwrap();
    fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

/// On a thread whose network is that of the namespace, and so are all that it starts.
fn serve_in(
    namespace: &Namespace,
    worker: Worker,
    stop: CancellationToken,
) -> thread::JoinHandle<()> {
    let file = fs::File::open(namespace.file()).unwrap();
    thread::spawn(move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(worker.serve(stop, CancellationToken::new()));
    })
}

/// What the kernel says of sockets there: where each leads, and its state.
fn sockets(namespace: &Namespace) -> Vec<(String, String)> {
    let enter = namespace.enter();
    let mut command = Command::new(&enter[0]);
    let output =
        command.args(&enter[1..]).args(["cat", "/proc/net/tcp", "/proc/net/tcp6"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let rows = text.lines().map(fields).filter(|row| row[0].ends_with(':'));
    rows.map(|row| (row[2].clone(), row[3].clone())).collect()
}

/// As the kernel writes it: bytes in the order of the machine.
fn written(address: SocketAddr) -> String {
    let IpAddr::V4(ip) = address.ip() else { panic!("{address} is of version 6") };
    format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_needs_no_more_than_a_way_out_to_its_master() {
    let Some(namespace) = Namespace::new().await else { return };
    let listener = TcpListener::bind((namespace.host, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    if let Err(why) = namespace.lets_out_only_to(address).await {
        return skip("a way out alone", &why);
    }
    let reached = tokio::net::TcpStream::connect((namespace.guest, 9));
    assert!(timeout(Duration::from_millis(500), reached).await.is_err(), "nothing gets in");

    let folder = tempfile::tempdir().unwrap();
    make_certificates(folder.path(), address.ip());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let client = || {
        let authority = folder.path().join("ca.pem");
        Client::trusting(&format!("https://{address}"), Some(&authority)).unwrap()
    };
    let (cert, key, host) = (path("cert.pem"), path("key.pem"), namespace.host.to_string());
    let flags = ["--allow-anyone", "--hosts", &host, "--tls-cert", &cert, "--tls-key", &key];
    let house = House::at(listener, client(), &flags);
    let (worker, executor) = scripted(client(), "inside", 2);
    let stop = CancellationToken::new();
    let thread = serve_in(&namespace, worker, stop.clone());

    let lines = house.submit("count 20000; leave a").await;
    assert_eq!(house.ended(&lines).await.status, JobStatus::Completed);
    assert_eq!(house.log(&lines).await, counted(20_000));
    // What it is told comes by a call of its own, too.
    let job = house.submit("say hi; hang").await;
    house.running(&job).await;
    house.client.cancel(job.id).await.unwrap();
    assert_eq!(house.ended(&job).await.outcome, Some(Outcome::Cancelled));
    assert_eq!(executor.running(), 0);

    let sockets = sockets(&namespace);
    assert!(!sockets.is_empty(), "its connections are seen");
    // Nothing listens: that would lead nowhere.
    assert!(sockets.iter().all(|(to, _)| *to == written(address)), "{sockets:?}");
    stop.cancel();
    tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
    house.close().await;
}
