# scale-mcp serving personas over HTTP. Few steps, and none that is not also a plain command: deploy/install.sh is tested as one.
FROM python:3.13-slim AS made
COPY . /source
RUN sh /source/deploy/install.sh /opt/scale-mcp

FROM python:3.13-slim
COPY --from=made /opt/scale-mcp /opt/scale-mcp
COPY deploy/healthy.py /opt/healthy.py
RUN useradd --system --uid 10001 --home-dir /data --create-home scale
USER scale
ENV PATH=/opt/scale-mcp/bin:$PATH PYTHONUNBUFFERED=1 SCALE_MCP_STORE=sqlite:////data/hosted.db
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s CMD ["python", "/opt/healthy.py"]
ENTRYPOINT ["scale-mcp"]
CMD ["serve", "--transport", "http", "--hosted", "--host", "0.0.0.0"]
