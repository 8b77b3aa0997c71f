// salesforce-pubsub-api-client as an application uses it: subscribe, decode, publish.
import PubSubApiClient from "salesforce-pubsub-api-client";
import { answer } from "./dialogue.mjs";

const quiet = { debug() {}, info() {}, warn() {}, error() {}, log() {} };
let client;
const heard = {};
const waiting = [];

function note(topic, kind, data) {
  (heard[topic] ??= []).push({ kind, data: plain(kind, data) });
  for (const look of [...waiting]) look();
}

function plain(kind, data) {
  if (kind === "error") {
    return { message: data.message, code: data.code ?? null, name: data.name, metadata: data.metadata?.getMap?.() ?? null };
  }
  return data ?? null;
}

answer({
  connect: async (config) => {
    client = new PubSubApiClient(
      { authType: "user-supplied", rejectUnauthorizedSsl: false, ...config },
      quiet,
    );
    await client.connect();
  },
  subscribe: ({ topic, preset, replayId, count }) => {
    const listen = (subscription, kind, data) => note(topic, kind, data);
    if (preset === "EARLIEST") client.subscribeFromEarliestEvent(topic, listen, count ?? null);
    else if (preset === "CUSTOM") client.subscribeFromReplayId(topic, listen, count ?? null, replayId);
    else client.subscribe(topic, listen, count ?? null);
  },
  more: ({ topic, count }) => client.requestAdditionalEvents(topic, count),
  heard: ({ topic, kind, count, seconds }) =>
    new Promise((resolve) => {
      const found = () => (heard[topic] ?? []).filter((item) => item.kind === kind);
      const end = () => {
        clearTimeout(timer);
        waiting.splice(waiting.indexOf(look), 1);
        resolve(found().map((item) => item.data));
      };
      const look = () => found().length >= count && end();
      const timer = setTimeout(end, seconds * 1000);
      waiting.push(look);
      look();
    }),
  publish: async ({ topic, payload, key }) => {
    const result = await client.publish(topic, payload, key);
    return result;
  },
  close: () => client.close(),
});
