/** gRPC between two services, without a broker, by the implementation that is JavaScript throughout. */

import { promisify } from "node:util";
import * as grpc from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";
import { type Body, unsupported, type Variant } from "../variant.ts";
import { isOneHandler, sharePort, takePort } from "./direct.ts";

const message = { fields: { id: { type: "uint32", id: 1 }, text: { type: "string", id: 2 } } };
const definition = fromJSON({
  nested: {
    Work: { methods: { do: { requestType: "Message", responseType: "Message", comment: "" } } },
    Message: message,
  },
});
const Work = grpc.loadPackageDefinition(definition).Work as grpc.ServiceClientConstructor;

/** The method of the definition, which the types of grpc-js cannot know. */
interface Client {
  do(body: Body, callback: (error: grpc.ServiceError | null, answer: Body) => void): void;
}

export const grpcJs: Variant = {
  title: "gRPC: grpc-js",
  settings:
    "no broker; Protocol Buffers instead of JSON, one connection; nothing confirmed, one handler only",
  loads: ["calls", "arrivals"],
  supports: isOneHandler,
  handle: async (surroundings, _service, handler) => {
    const server = new grpc.Server();
    server.addService(Work.service, {
      do: ({ request }: { request: Body }, callback: grpc.sendUnaryData<Body>) => {
        Promise.resolve(handler(request)).then((answer) => callback(null, answer), callback);
      },
    });
    const listen = promisify(server.bindAsync.bind(server));
    await sharePort(surroundings, await listen("127.0.0.1:0", grpc.ServerCredentials.createInsecure()));
    return { close: () => promisify(server.tryShutdown.bind(server))() };
  },
  request: async (surroundings) => {
    const address = `127.0.0.1:${await takePort(surroundings)}`;
    const client = new Work(address, grpc.credentials.createInsecure()) as unknown as grpc.Client & Client;
    return {
      call: (body) =>
        new Promise((resolve, reject) => {
          client.do(body, (error, answer) => (error === null ? resolve(answer) : reject(error)));
        }),
      publish: unsupported,
      send: unsupported,
      close: async () => client.close(),
    };
  },
};
