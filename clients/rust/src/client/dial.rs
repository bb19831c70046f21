//! A TCP connection, TLS where it is asked for, and the upgrade.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use tungstenite::client::IntoClientRequest;
use tungstenite::WebSocket;

#[cfg(feature = "tls")]
pub(super) type Stream = tungstenite::stream::MaybeTlsStream<TcpStream>;
#[cfg(not(feature = "tls"))]
pub(super) type Stream = TcpStream;

#[cfg(feature = "tls")]
pub(super) fn plain(stream: &Stream) -> &TcpStream {
    match stream {
        tungstenite::stream::MaybeTlsStream::Plain(tcp) => tcp,
        tungstenite::stream::MaybeTlsStream::NativeTls(tls) => tls.get_ref(),
        _ => unreachable!("no other kind of stream is built in"),
    }
}

#[cfg(not(feature = "tls"))]
pub(super) fn plain(stream: &Stream) -> &TcpStream {
    stream
}

pub(super) fn dial(url: &str, patience: Duration) -> Result<WebSocket<Stream>, String> {
    let request = url.into_client_request().map_err(|error| error.to_string())?;
    let uri = request.uri();
    let secure = uri.scheme_str() == Some("wss");
    if secure && !cfg!(feature = "tls") {
        return Err("wss:// needs the feature `tls`".to_owned());
    }
    let host = uri.host().ok_or("no host in the URL")?.trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let mut last = format!("{host} has no address");
    for address in (host, port).to_socket_addrs().map_err(|error| error.to_string())? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(tcp) => return upgrade(request, tcp, patience),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

fn upgrade(
    request: tungstenite::handshake::client::Request,
    tcp: TcpStream,
    patience: Duration,
) -> Result<WebSocket<Stream>, String> {
    let set = tcp.set_nodelay(true).and_then(|()| tcp.set_read_timeout(Some(patience)));
    set.and_then(|()| tcp.set_write_timeout(Some(patience))).map_err(|error| error.to_string())?;
    #[cfg(feature = "tls")]
    let done = tungstenite::client_tls(request, tcp).map_err(|error| error.to_string());
    #[cfg(not(feature = "tls"))]
    let done = tungstenite::client(request, tcp).map_err(|error| error.to_string());
    done.map(|(socket, _)| socket)
}
