import { defineConfig } from "vitest/config";

/**
 * Four projects, so that each asks for no more than it needs: `npx vitest --project unit` starts no broker, and
 * neither does naming a unit test's file.
 */
export default defineConfig({
  test: {
    pool: "forks",
    // They wait for the broker more than they compute.
    maxWorkers: 3,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: [
            "src/**/*.test.ts",
            "bench/src/**/*.test.ts",
            "test/architecture.test.ts",
            "test/docs.test.ts",
            "test/docs-names.test.ts",
            "test/types/*.test.ts",
          ],
          typecheck: {
            enabled: true,
            include: ["src/**/*.test-d.ts"],
            checker: "node_modules/typescript/bin/tsc",
            tsconfig: "tsconfig.json",
            // Errors elsewhere are the build's and `npm run typecheck`'s business.
            ignoreSourceErrors: true,
          },
        },
      },
      {
        extends: true,
        test: {
          name: "tooling",
          include: [
            "test/package.test.ts",
            "test/revision.test.ts",
            "test/promtool.test.ts",
            "test/test-broker.test.ts",
            "test/test-postgres.test.ts",
            "test/cli-embedded.test.ts",
            "test/cli-run.test.ts",
          ],
        },
      },
      {
        extends: true,
        test: {
          name: "embedded",
          include: ["test/conformance/embedded*.test.ts"],
        },
      },
      {
        extends: true,
        test: {
          name: "broker",
          include: ["test/**/*.test.ts"],
          exclude: [
            // Packages that are installed there have tests of their own.
            "test/recipes/**",
            "test/runtimes/**",
            "test/types/fixtures/**",
            "test/types/**",
            "test/architecture.test.ts",
            "test/docs.test.ts",
            "test/docs-names.test.ts",
            "test/package.test.ts",
            "test/revision.test.ts",
            "test/promtool.test.ts",
            "test/test-broker.test.ts",
            "test/test-postgres.test.ts",
            "test/cli-embedded.test.ts",
            "test/cli-run.test.ts",
            "test/conformance/embedded*.test.ts",
          ],
          globalSetup: ["test/support/global-setup.ts"],
        },
      },
    ],
  },
});
