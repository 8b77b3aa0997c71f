// One JSON document a line in both directions: the test asks, the script answers.
import readline from "node:readline";

export function answer(commands) {
  const lines = readline.createInterface({ input: process.stdin });
  let queue = Promise.resolve();
  lines.on("line", (line) => {
    queue = queue.then(async () => {
      const { command, ...rest } = JSON.parse(line);
      let reply;
      try {
        reply = { result: (await commands[command](rest)) ?? null };
      } catch (error) {
        reply = {
          error: {
            name: error.name,
            message: error.message,
            errorCode: error.errorCode ?? null,
            code: error.code ?? null,
          },
        };
      }
      process.stdout.write(JSON.stringify(reply, (key, value) => (typeof value === "bigint" ? `${value}` : value)) + "\n");
    });
  });
  lines.on("close", () => queue.then(() => process.exit(0)));
}
