//! The commands: from arguments to a session's replies to what is printed. One file each.

mod audit;
mod convert;
pub(crate) mod diff;
mod inspect;
pub(crate) mod preview;
mod repair;
mod rules;
mod verify;

use crate::args::{Args, Command};
use crate::control::{Bars, listen};
use crate::exit::{Failure, Status};
use crate::files::CheckpointFiles;
use quantscope_format::Limits;
use quantscope_session::Session;

pub(crate) fn run(args: Args) -> Result<Status, Failure> {
    listen()?;
    let limits = args.limits();
    futures_executor::block_on(async {
        match args.command {
            Command::Inspect(command) => inspect::run(&command, &limits).await,
            Command::Audit(command) => audit::run(&command, &limits).await,
            Command::Preview(command) => preview::run(&command, &limits).await,
            Command::Convert(command) => convert::run(&command, &limits).await,
            Command::Diff(command) => diff::run(&command, &limits).await,
            Command::Repair(command) => repair::run(&command, &limits).await,
            Command::Verify(command) => verify::run(&command, &limits).await,
            Command::Rules(command) => rules::run(&command),
        }
    })
}

/// Opens one checkpoint: headers, index and configs.
async fn open(checkpoint: CheckpointFiles, limits: &Limits, bars: &Bars) -> Result<Session, Failure> {
    let session = Session::open(&checkpoint.name, checkpoint.files, *limits, bars).await;
    bars.clear();
    Ok(session?)
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;
    use std::future::poll_fn;
    use std::sync::mpsc::channel;
    use std::task::Poll;
    use std::thread;
    use std::time::Duration;

    /// A thread may tell that it has hashed a tile while another one is being waited for. The channel parks the thread
    /// that the executor parks, too: what wakes the one is not to be lost in the other.
    #[test]
    fn the_core_is_woken_though_a_channel_waited_in_between() {
        let mut polls = 0;
        let future = poll_fn(|context| {
            polls += 1;
            if polls > 1 {
                return Poll::Ready(());
            }
            let (sender, tile) = channel();
            let waker = context.waker().clone();
            let others = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                waker.wake();
                thread::sleep(Duration::from_millis(20));
                sender.send(()).unwrap();
            });
            tile.recv().unwrap();
            others.join().unwrap();
            Poll::Pending
        });
        block_on(future);
        assert_eq!(polls, 2);
    }
}
