import { randomFor } from "./random.ts";
import type { World } from "./world.ts";

/** A kill strikes within so many events of the process: at any point of whatever it is doing. */
const KILL_WITHIN_EVENTS = 120;

/** Plans what befalls the process, its machine and the table itself. */
export function armMachine(world: World): void {
  const { plan, timeline, machine, journal, setting } = world;
  for (const fault of plan.faults) {
    const at = plan.fromOf(fault);
    const to = plan.toOf(fault);
    switch (fault.kind) {
      case "kill":
        timeline.at(at, "kill", () => {
          const { process } = world;
          if (process === undefined || process.isDead) return;
          world.killAt = process.eventCount + 1 + Math.floor(fault.arg * KILL_WITHIN_EVENTS);
          world.killDownMs = fault.forMs;
        });
        break;
      case "db-start":
        // It goes away for a process that has just begun.
        timeline.at(at, "killed at start", () => world.kill(500));
        break;
      case "stop":
        timeline.at(at, "stop", () => world.askToStop(fault.forMs));
        break;
      case "pause":
      case "suspend":
        timeline.at(at, fault.kind, () => {
          machine.pause(to, fault.kind === "suspend");
          journal.count(`machine ${fault.kind}`);
        });
        break;
      case "clock-jump":
        timeline.at(at, "clock jump", () =>
          machine.jump(Math.round((fault.arg - 0.5) * 7_200_000)),
        );
        break;
      case "db-deleted-row":
        timeline.at(at, "deleted row", () => deleteRow(world, fault.arg));
        break;
      default:
        break;
    }
  }
  void setting;
}

/** A hand in the database deletes a candle of the last hour that nobody else would ask for again. */
function deleteRow(world: World, arg: number): void {
  const { view, database, status, timeline, setting, journal } = world;
  if (setting.broken.includes("holes")) return;
  const random = randomFor(Math.floor(arg * 1e6), "deleted row");
  const rows = [...view.rows()].filter(({ series, candle }) => {
    const { next } = view.facts(series);
    return (
      next !== undefined && candle.openTime < next && candle.openTime > timeline.now - 3_600_000
    );
  });
  const row = rows[Math.floor(random() * rows.length)];
  if (row === undefined) return;
  const { series, candle } = row;
  database.tables.forget(series, candle.openTime);
  view.remove(series, candle.openTime);
  status.deletedRow(series, candle.openTime);
  journal.count("rows deleted by hand");
}
