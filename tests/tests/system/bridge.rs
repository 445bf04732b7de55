//! Jobs with a network reach the outside, but neither this machine, nor the master, nor each other,
//! nor a cloud's metadata service. A network namespace stands in for another machine.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
};

use orchestra_contracts::JobStatus;
use orchestra_tests::{Namespace, Plan, Stack, skip, wait};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const PORT: u16 = 8080;

/// A job that prints its address and then listens for ever.
const NEIGHBOUR: &str = r"
    tail -n 1 /etc/hosts | cut -f 1
    exec perl -MIO::Socket::INET -e 'IO::Socket::INET->new(LocalPort => 8080, Listen => 5)
        or die $!; sleep 600'";

/// Listens on every address of another machine.
fn serve_in(namespace: &Namespace) -> Child {
    let enter = namespace.enter();
    let mut server = Command::new(&enter[0]);
    server.args(&enter[1..]).args(["python3", "-m", "http.server", &PORT.to_string()]);
    server.current_dir("/proc/self/task").stdout(Stdio::null()).stderr(Stdio::null());
    server.kill_on_drop(true).spawn().expect("ip can start a program")
}

async fn is_reached_from_here(address: Ipv4Addr) {
    wait::until(&format!("{address} to answer this machine"), wait::SOON, async || {
        TcpStream::connect((address, PORT)).await.ok().map(drop)
    })
    .await;
}

/// What a job with a network reports for each of these addresses.
async fn found(stack: &Stack, addresses: &[SocketAddr]) -> Vec<String> {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let command = format!("/orchestra/orchestra-sandbox --connect {}", addresses.join(" "));
    let job = stack.api.run(&json!({"command": command, "network": "bridge"})).await;
    assert_eq!(job.status, JobStatus::Completed, "{job:?}");
    job.output.lines().map(str::to_owned).collect()
}

fn all(addresses: &[SocketAddr], way: &str) -> Vec<String> {
    addresses.iter().map(|address| format!("{address}: {way}")).collect()
}

/// Runs such jobs until one has used a warm sandbox: these are made where jobs request them.
async fn until_one_waited(stack: &Stack) {
    let hits = async || {
        stack.api.run(&json!({"command": "true", "network": "bridge"})).await;
        let workers = stack.api.workers().await;
        let pools = workers.into_iter().filter_map(|worker| worker.stats?.pool);
        pools.map(|pool| pool.hits).find(|hits| *hits > 0)
    };
    wait::until("a job that found its sandbox waiting", wait::SOON, hits).await;
}

/// With cold and with warm sandboxes.
#[tokio::test]
async fn a_network_leads_out_and_to_nothing_that_is_ours() {
    for warm in ["0", "2"] {
        leads_out_and_to_nothing_that_is_ours(warm).await;
    }
}

async fn leads_out_and_to_nothing_that_is_ours(warm: &str) {
    let plan = Plan::default().setting("ORCHESTRA_ALLOW_NETWORK", "true");
    let plan = plan.setting("ORCHESTRA_WARM", warm).setting("ORCHESTRA_MAX_WARM", warm);
    let Some(stack) = plan.clone().start().await else { return };
    let Some(elsewhere) = Namespace::new().await else { return stack.stop().await };
    if let Err(why) = elsewhere.is_also(METADATA).await {
        skip("metadata services", &why);
        return stack.stop().await;
    }
    let _server = serve_in(&elsewhere);
    is_reached_from_here(elsewhere.guest).await;
    is_reached_from_here(METADATA).await;

    let outside = [SocketAddr::from((elsewhere.guest, PORT))];
    assert_eq!(
        found(&stack, &outside).await,
        all(&outside, "REACHED"),
        "the network reaches the outside"
    );
    if warm != "0" {
        until_one_waited(&stack).await;
        assert_eq!(
            found(&stack, &outside).await,
            all(&outside, "REACHED"),
            "the network reaches the outside"
        );
    }

    // A port open on every address of this machine, also on the gateways of its networks.
    let open = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
    let port = open.local_addr().expect("it is bound").port();
    let gateway =
        "while read -r _ to via _; do [ $to = 00000000 ] && echo $via; done < /proc/net/route";
    let gateway = stack.api.run(&json!({"command": gateway, "network": "bridge"})).await.output;
    let gateway = u32::from_str_radix(gateway.trim(), 16).expect("a gateway in hexadecimal");
    let gateway = Ipv4Addr::from(gateway.to_ne_bytes());
    let neighbour = stack.api.submit(&json!({"command": NEIGHBOUR, "network": "bridge"})).await;
    let address = wait::until("the neighbour's address", wait::SOON, async || {
        let log = stack.api.log(neighbour.id, "?stream=stdout").await;
        String::from_utf8_lossy(&log).trim().parse::<Ipv4Addr>().ok()
    })
    .await;
    let ours = [
        (METADATA, PORT),
        (elsewhere.host, port),
        (gateway, port),
        (address, PORT),
        // Out of reach whether or not anything listens there.
        (Ipv4Addr::new(172, 17, 0, 1), port),
    ]
    .map(SocketAddr::from);
    assert_eq!(found(&stack, &ours).await, all(&ours, "out of reach"));

    // Nor can the job remove the wall, and without a network there is no way around it.
    let undo = "ip route flush table main 2>&1; /orchestra/orchestra-sandbox --wall 0.0.0.0/0";
    let undo = stack.api.run(&json!({"command": undo, "network": "bridge"})).await;
    assert!(undo.error.contains("Operation not permitted"), "{undo:?}");
    let offline = format!("/orchestra/orchestra-sandbox --connect {}", outside[0]);
    let offline = stack.api.run(&json!({ "command": offline })).await;
    assert_eq!(offline.output, format!("{}: out of reach\n", outside[0]));
    stack.stop().await;

    let plan = plan.setting("ORCHESTRA_DENY_NETWORKS", format!("{}/30", elsewhere.guest));
    let stack = plan.start().await.expect("the engine was there a moment ago");
    assert_eq!(found(&stack, &outside).await, all(&outside, "out of reach"), "it is denied");
    stack.stop().await;
}
