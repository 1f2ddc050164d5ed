//! Prints what nats-server has to allow a user, or what crosses between two accounts.
//!
//! `cargo run -p tests --bin permissions -- --service billing --role caller --caller shop`

use anyhow::{Context, Result, bail};
use requite::{Crossing, Name, Permissions};

const USAGE: &str = "\
cargo run -p tests --bin permissions -- --service NAME [--service NAME …] --role ROLE --caller NAME [options]
  --service NAME       a service; several are joined
  --role ROLE          caller, worker, observer or setup; several are joined
  --caller NAME        the name under which the user connects, whatever the role (REQUITE_CALLER)
  --namespace NAME     the namespace (rq)
  --format FORMAT      conf: the user as in a server's configuration (default)
                       jwt: the claim of a JWT; without --caller, for the template of a scoped signing key
                       list: one subject a line
  --other-accounts     a worker whose callers are in another account
  --crossing A,B       instead of a role: exports of the services' account A, imports of the callers' account B

The lists hold no secret. In the configuration add a password, an nkey or whatever proves who the user is. Set-up comes
first, with the user of the role setup; then workers start with Setup::Verify.";

/// In the place of a name that the server fills in.
const TEMPLATE: &str = "NAME-OF-THE-USER";

#[derive(Default)]
struct Options {
    namespace: Option<Name>,
    services: Vec<Name>,
    roles: Vec<String>,
    caller: Option<Name>,
    format: Option<String>,
    other_accounts: bool,
    crossing: Option<(Name, Name)>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--namespace" => options.namespace = Some(value()?.parse()?),
                "--service" => options.services.push(value()?.parse()?),
                "--role" => options.roles.push(value()?),
                "--caller" => options.caller = Some(value()?.parse()?),
                "--format" => options.format = Some(value()?),
                "--other-accounts" => options.other_accounts = true,
                "--crossing" => {
                    let value = value()?;
                    let (services, callers) = value.split_once(',').context("--crossing needs A,B")?;
                    options.crossing = Some((services.parse()?, callers.parse()?));
                }
                other => bail!("unknown argument {other}\n\n{USAGE}"),
            }
        }
        Ok(options)
    }

    fn permissions(&self, namespace: &Name, user: &Name) -> Result<Permissions> {
        let mut all: Option<Permissions> = None;
        for role in &self.roles {
            let of = match role.as_str() {
                "caller" => Permissions::caller,
                "worker" => Permissions::worker,
                "observer" => Permissions::observer,
                "setup" => Permissions::setup,
                other => bail!("unknown role {other}\n\n{USAGE}"),
            };
            for service in &self.services {
                let mut more = of(namespace, service, user);
                if self.other_accounts && role == "worker" {
                    more = more.answering_other_accounts();
                }
                all = Some(match all.take() {
                    Some(all) => all.and(more),
                    None => more,
                });
            }
        }
        all.with_context(|| format!("--service and --role are needed\n\n{USAGE}"))
    }
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let namespace = options.namespace.clone().map_or_else(|| "rq".parse(), Ok)?;
    if let Some((services, callers)) = &options.crossing {
        for service in &options.services {
            let crossing = Crossing::new(&namespace, service);
            println!("# {service}: in account {services}\nexports: {}", crossing.exports(callers));
            println!("# {service}: in account {callers}\nimports: {}", crossing.imports(services));
        }
        return Ok(());
    }
    let format = options.format.as_deref().unwrap_or("conf");
    let user = match &options.caller {
        Some(name) => name.clone(),
        None if format == "jwt" => TEMPLATE.parse()?,
        None => bail!("--caller is needed\n\n{USAGE}"),
    };
    let permissions = options.permissions(&namespace, &user)?;
    match format {
        "conf" => println!("{{ user: {user}, permissions: {permissions} }}"),
        "jwt" => println!("{}", permissions.jwt().replace(TEMPLATE, "{{name()}}")),
        "list" => {
            for (what, subjects) in
                [("publish", permissions.publish()), ("subscribe", permissions.subscribe())]
            {
                subjects.iter().for_each(|subject| println!("{what} {subject}"));
            }
        }
        other => bail!("unknown format {other}\n\n{USAGE}"),
    }
    Ok(())
}
