//! `bingo`: the application that the dev environment deploys. It is faithful to its model, faults included.
//!
//! `bingo prepare_db` fills the database, slowly, and only once; `bingo run_server` serves it. By request or at random it
//! goes bad: it answers 500 `I feel bad` until it is restarted, eats memory until it is killed, or exits.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

use std::{
    path::Path as FilePath,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio_postgres::{Client, NoTls};

const CONFIG: &str = "/opt/bingo/config.yaml";
const MARK: &str = "/var/lib/bingo/prepared";
const PORT: u16 = 13526;
/// How long the slow constant takes.
const LONG: Duration = Duration::from_secs(2);
/// How long a database may take to come up.
const PATIENCE: Duration = Duration::from_mins(5);

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let result = match command.as_str() {
        "run_server" => run_server().await,
        "prepare_db" => prepare_db().await,
        "print_default_config" => {
            println!(
                "postgres_cluster:\n  hosts:\n    - address: localhost\n      port: 5432\n  user: bingo\n  password: bingo\n  db_name: bingo\nrandom_faults_every: 0"
            );
            Ok(())
        }
        _ => Err("usage: bingo run_server | prepare_db | print_default_config".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("bingo: {error}");
            let mut source = error.source();
            while let Some(inner) = source {
                text += &format!(": {inner}");
                source = inner.source();
            }
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

struct Config {
    database: tokio_postgres::Config,
    random_faults_every: u64,
}

fn refuse_root() -> Result<(), Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next());
    if uid == Some("0") { Err("I refuse to run as root".into()) } else { Ok(()) }
}

fn config() -> Result<Config, Failure> {
    let source = infra::yaml::read(FilePath::new(CONFIG)).map_err(|error| error.to_string())?;
    let (node, _) = infra::yaml::parse(&source).map_err(|error| error.to_string())?;
    let value = node.to_value();
    let cluster = &value["postgres_cluster"];
    let text = |name: &str| cluster[name].as_str().map(str::to_owned).ok_or(format!("`{name}` is missing in {CONFIG}"));
    let host = &cluster["hosts"][0];
    let mut database = tokio_postgres::Config::new();
    database
        .host(host["address"].as_str().ok_or("no database host")?)
        .port(u16::try_from(host["port"].as_u64().unwrap_or(5432))?)
        .user(text("user")?)
        .password(text("password")?)
        .dbname(text("db_name")?)
        .connect_timeout(Duration::from_secs(5));
    Ok(Config { database, random_faults_every: value["random_faults_every"].as_u64().unwrap_or(0) })
}

async fn connect(config: &tokio_postgres::Config) -> Result<Client, Failure> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("bingo: database: {error}");
        }
    });
    Ok(client)
}

/// Creates and fills the tables, in one transaction: killed half-way, it leaves nothing behind.
async fn prepare_db() -> Result<(), Failure> {
    refuse_root()?;
    let config = config()?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut client = loop {
        match connect(&config.database).await {
            Ok(client) => break client,
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    };
    let transaction = client.transaction().await?;
    // Whoever comes second waits here, and finds everything done.
    transaction.batch_execute("SELECT pg_advisory_xact_lock(13526)").await?;
    let exists: bool = transaction.query_one("SELECT to_regclass('public.sessions') IS NOT NULL", &[]).await?.get(0);
    if exists {
        println!("already prepared");
    } else {
        transaction
            .batch_execute(
                "CREATE TABLE movies (id int, name text, year int);
                 CREATE TABLE customers (id int, name text, surname text);
                 CREATE TABLE sessions (id int, movie_id int, customer_id int, start_time timestamp);
                 CREATE TABLE preparations (at timestamp DEFAULT now());
                 INSERT INTO movies SELECT n, 'Movie ' || md5(n::text), 1950 + n % 75 FROM generate_series(1, 10000) n;
                 INSERT INTO customers SELECT n, 'Name ' || n % 997, 'Surname ' || md5(n::text) FROM generate_series(1, 100000) n;
                 INSERT INTO sessions SELECT n, 1 + n * 7919::bigint % 10000, 1 + n * 104729::bigint % 100000,
                   timestamp '2020-01-01' + n * interval '1 minute' FROM generate_series(1, 600000) n;
                 INSERT INTO preparations DEFAULT VALUES;",
            )
            .await?;
        println!("prepared");
    }
    transaction.commit().await?;
    std::fs::write(MARK, "")?;
    Ok(())
}

struct Server {
    database: tokio_postgres::Config,
    feels_bad: AtomicBool,
}

async fn run_server() -> Result<(), Failure> {
    refuse_root()?;
    let config = config()?;
    let server = Arc::new(Server { database: config.database, feels_bad: AtomicBool::new(false) });
    if config.random_faults_every > 0 {
        tokio::spawn(random_faults(Arc::clone(&server), config.random_faults_every));
    }
    let routes = Router::new()
        .route("/", get(|| async { "bingo\n" }))
        .route("/ping", get(|| async { "pong\n" }))
        .route("/api/session", get(sessions))
        .route("/long_dummy", get(long_dummy))
        .route("/db_dummy", get(db_dummy))
        .route("/fault/{kind}", post(fault))
        .layer(middleware::from_fn_with_state(Arc::clone(&server), mood))
        .with_state(server);
    let listener = tokio::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
    println!("bingo listens on port {PORT}");
    axum::serve(listener, routes).await?;
    Ok(())
}

/// When it feels bad, it says so to everybody.
async fn mood(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    if server.feels_bad.load(Ordering::Relaxed) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "I feel bad\n").into_response();
    }
    next.run(request).await
}

async fn long_dummy() -> &'static str {
    tokio::time::sleep(LONG).await;
    "a slow constant\n"
}

async fn db_dummy(State(server): State<Arc<Server>>) -> Response {
    answer(async {
        let client = connect(&server.database).await?;
        let count: i64 = client.query_one("SELECT count(*) FROM movies", &[]).await?.get(0);
        Ok(format!("{count} movies\n"))
    })
    .await
}

/// Who saw what, by year and name of the movie: three tables, slow without indexes.
async fn sessions(State(server): State<Arc<Server>>) -> Response {
    let json = answer(async {
        let client = connect(&server.database).await?;
        let rows = client
            .query_one(
                "SELECT coalesce(json_agg(t), '[]')::text FROM (
                   SELECT s.id, s.start_time, c.name, c.surname, m.name AS movie, m.year
                   FROM sessions s JOIN movies m ON m.id = s.movie_id JOIN customers c ON c.id = s.customer_id
                   ORDER BY m.year, m.name LIMIT 100000) t",
                &[],
            )
            .await?;
        Ok(rows.get::<_, String>(0))
    });
    let mut response = json.await;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

async fn answer(work: impl Future<Output = Result<String, Failure>>) -> Response {
    match work.await {
        Ok(text) => text.into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

async fn fault(State(server): State<Arc<Server>>, Path(kind): Path<String>) -> (StatusCode, &'static str) {
    if go_bad(&server, &kind) {
        (StatusCode::OK, "as you wish\n")
    } else {
        (StatusCode::NOT_FOUND, "bad, memory or exit\n")
    }
}

fn go_bad(server: &Arc<Server>, kind: &str) -> bool {
    match kind {
        "bad" => server.feels_bad.store(true, Ordering::Relaxed),
        "memory" => drop(std::thread::spawn(eat_memory)),
        "exit" => drop(tokio::spawn(async {
            // The answer goes out first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            #[expect(clippy::exit, reason = "that is the fault")]
            std::process::exit(1);
        })),
        _ => return false,
    }
    true
}

fn eat_memory() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![u8::try_from(eaten.len() % 251).unwrap_or(1); 8 << 20]);
        std::thread::sleep(Duration::from_millis(10));
    }
}

async fn random_faults(server: Arc<Server>, every: u64) {
    loop {
        let mut bytes = [0_u8; 3];
        if getrandom::fill(&mut bytes).is_err() {
            return;
        }
        // Between nothing and twice the average.
        let seconds = u64::from(u16::from_le_bytes([bytes[0], bytes[1]])) * every * 2 / u64::from(u16::MAX);
        tokio::time::sleep(Duration::from_secs(seconds.max(1))).await;
        go_bad(&server, ["bad", "memory", "exit"][usize::from(bytes[2] % 3)]);
    }
}
